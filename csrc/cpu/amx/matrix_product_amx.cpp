// Compiled for processors with AVX-512 and AMX only; see matrix_product_amx.h.
#include "cpu/amx/matrix_product_amx.h"

#include "cpu/amx/factors.h"

namespace hmeg::amx {
namespace {

static_assert(kProductBlock == kBlock && kProductBlock == kDeep && kProductNumbers == kTile);

}  // namespace

void pack_columns(int64_t parts, const float* from, int64_t by_row, int64_t by_column, int64_t depth, int64_t columns,
                  uint16_t* to, int64_t step) {
  with_parts(parts, [&](auto known) {
    constexpr int kParts = known.value;
    constexpr int64_t kBelow = kParts * kTile;
    alignas(64) Part left[2 * kBelow];
    for (int64_t first = 0; first < depth; first += kBlock, to += kBelow) {
      if (by_row == 1) {
        const auto row = [&](int64_t w) { return from + first + w * by_column; };
        split_rows<kParts>(row, columns, depth - first, left, kBelow);
        for (int part = 0; part < kParts; ++part) {
          transpose_tile(left + part * kTile, to + part * kTile);
          transpose_tile(left + kBelow + part * kTile, to + step + part * kTile);
        }
      } else {
        const auto row = [&](int64_t j) { return from + (first + j) * by_row; };
        split_rows<kParts>(row, depth - first, columns, left, kBelow);
        keep_right<kParts>(left, kBelow, to, step);
      }
    }
  });
}

void pack_rows(int64_t parts, const float* from, int64_t by_row, int64_t by_column, int64_t rows, int64_t depth,
               uint16_t* to, int64_t step) {
  with_parts(parts, [&](auto known) {
    constexpr int kParts = known.value;
    constexpr int64_t kBelow = kParts * kTile;
    alignas(64) Part left[2 * kBelow];
    for (int64_t first = 0; first < depth; first += kBlock, to += kBelow) {
      if (by_column == 1) {
        const auto row = [&](int64_t i) { return from + i * by_row + first; };
        split_rows<kParts>(row, rows, depth - first, to, step);
      } else {
        const auto row = [&](int64_t k) { return from + (first + k) * by_column; };
        split_rows<kParts>(row, depth - first, rows, left, kBelow);
        keep_left<kParts>(left, kBelow, to, step);
      }
    }
  });
}

void multiply_rows(int64_t parts, bool add, const uint16_t* left, const uint16_t* right, int64_t rows, int64_t depth,
                   int64_t columns, float* out, int64_t out_row) {
  with_parts(parts, [&](auto known) {
    constexpr int kParts = known.value;
    const int64_t step = blocks_of(depth) * kParts * kTile;
    const TileRegisters registers;
    for (int64_t column = 0; column < columns; column += kBlock) {
      multiply_part<kParts>(add, left, step, right + column / kSide * step, step, blocks_of(depth), out + column,
                            out_row, rows, columns - column);
    }
  });
}

}  // namespace hmeg::amx
