// Compiled for processors with AVX-512 and AMX only; see factors.h.
#include "cpu/amx/factors.h"

#include "cpu/amx/factor_tiles.h"

namespace hmeg::amx {
namespace {

static_assert(kFactorBlock == kBlock && kFactorBlock == kDeep && kFactorNumbers == kTile);

template <int kParts>
void pack(Side side, const float* from, int64_t by_depth, int64_t by_other, int64_t depth, int64_t count, Part* to,
          int64_t step) {
  constexpr int64_t kBelow = kParts * kTile;
  alignas(64) Part tiles[2 * kBelow];
  for (int64_t first = 0; first < depth; first += kBlock, from += kBlock * by_depth, to += kBelow) {
    if (by_depth != 1) {  // a row of tiles is what lies at one depth
      split_rows<kParts>([&](int64_t j) { return from + j * by_depth; }, depth - first, count, tiles, kBelow);
      side == Side::kLeft ? keep_left<kParts>(tiles, kBelow, to, step) : keep_right<kParts>(tiles, kBelow, to, step);
    } else if (side == Side::kLeft) {
      split_rows<kParts>([&](int64_t i) { return from + i * by_other; }, count, depth - first, to, step);
    } else {
      split_rows<kParts>([&](int64_t i) { return from + i * by_other; }, count, depth - first, tiles, kBelow);
      for (int part = 0; part < kParts; ++part) {
        transpose_tile(tiles + part * kTile, to + part * kTile);
        transpose_tile(tiles + kBelow + part * kTile, to + step + part * kTile);
      }
    }
  }
}

}  // namespace

void pack(int64_t parts, Side side, const float* from, int64_t by_depth, int64_t by_other, int64_t depth, int64_t count,
          uint16_t* to, int64_t step) {
  with_parts(parts, [&](auto known) { pack<known.value>(side, from, by_depth, by_other, depth, count, to, step); });
}

}  // namespace hmeg::amx
