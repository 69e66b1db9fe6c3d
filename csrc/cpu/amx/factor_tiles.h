// What makes factors: tiles of other tiles, for parts known to the compiler.
#pragma once

#include "cpu/amx/tiles.h"

namespace hmeg::amx {
namespace {

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t blocks_of(int64_t count) { return (count + kBlock - 1) / kBlock; }

// Calls body(parts) with a number known to the compiler.
template <int kParts>
struct Parts {
  static constexpr int value = kParts;
};
template <typename Body>
inline void with_parts(int64_t parts, Body body) {
  switch (parts) {
    case 1:
      return body(Parts<1>());
    case 2:
      return body(Parts<2>());
    default:
      return body(Parts<3>());
  }
}

// 32 rows of 32 columns, two left tiles `below` each other, become what has those rows as its depth: a right factor of
// the columns, or a left one of which they are the rows. `to`: the first of two blocks, `step` from one to the next.
template <int kParts>
inline void keep_right(const Part* rows, int64_t below, Part* to, int64_t step) {
  for (int part = 0; part < kParts; ++part) {
    pair_rows(rows + part * kTile, below, to + part * kTile, to + step + part * kTile);
  }
}
template <int kParts>
inline void keep_left(const Part* rows, int64_t below, Part* to, int64_t step) {
  alignas(64) Part pairs[2 * kTile];
  for (int part = 0; part < kParts; ++part) {
    pair_rows(rows + part * kTile, below, pairs, pairs + kTile);
    transpose_tile(pairs, to + part * kTile);
    transpose_tile(pairs + kTile, to + step + part * kTile);
  }
}

}  // namespace
}  // namespace hmeg::amx
