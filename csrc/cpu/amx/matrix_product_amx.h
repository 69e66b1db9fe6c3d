// Products of any matrices, for processors with a matrix unit (tiles.h).
#pragma once

#include <cstdint>

namespace hmeg::amx {

// out (rows, columns), rows out_row apart, = (add ? out : 0) + left right, 32 rows or less.
void multiply_rows(int64_t parts, bool add, const uint16_t* left, const uint16_t* right, int64_t rows, int64_t depth,
                   int64_t columns, float* out, int64_t out_row);

}  // namespace hmeg::amx
