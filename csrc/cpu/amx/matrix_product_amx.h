// Factors and products of any matrices, for processors with a matrix unit (tiles.h).
#pragma once

#include <cstdint>

namespace hmeg::amx {

constexpr int64_t kProductBlock = 32;     // rows, columns and depth of what is multiplied at once
constexpr int64_t kProductNumbers = 512;  // of a tile

// 32 columns or less of a right factor, two blocks of 16, `step` numbers from one to the next: B[j, w] is
// from[j * by_row + w * by_column], one of the two steps being 1.
void pack_columns(int64_t parts, const float* from, int64_t by_row, int64_t by_column, int64_t depth, int64_t columns,
                  uint16_t* to, int64_t step);

// 32 rows or less of a left factor, likewise: A[i, k] is from[i * by_row + k * by_column].
void pack_rows(int64_t parts, const float* from, int64_t by_row, int64_t by_column, int64_t rows, int64_t depth,
               uint16_t* to, int64_t step);

// out (rows, columns), rows out_row apart, = (add ? out : 0) + left right, 32 rows or less.
void multiply_rows(int64_t parts, bool add, const uint16_t* left, const uint16_t* right, int64_t rows, int64_t depth,
                   int64_t columns, float* out, int64_t out_row);

}  // namespace hmeg::amx
