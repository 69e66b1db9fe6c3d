// Compiled for processors with AVX-512 and AMX only; see matrix_product_amx.h.
#include "cpu/amx/matrix_product_amx.h"

#include "cpu/amx/factor_tiles.h"

namespace hmeg::amx {
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
