// Matrices as factors of the products in tiles.h, for what calls them from outside this folder.
#pragma once

#include <cstdint>

namespace hmeg::amx {

constexpr int64_t kFactorBlock = 32;     // rows, columns and depth of what is multiplied at once
constexpr int64_t kFactorNumbers = 512;  // of a tile

enum class Side { kLeft, kRight };

// 32 rows (left) or columns (right) of a factor, `count` or less of them there: two blocks of 16, `step` numbers from
// one to the next. What stands at depth j of the i-th is from[j * by_depth + i * by_other], one of the two steps
// being 1.
void pack(int64_t parts, Side side, const float* from, int64_t by_depth, int64_t by_other, int64_t depth, int64_t count,
          uint16_t* to, int64_t step);

}  // namespace hmeg::amx
