// `count` points from 0 to 1, as torch.linspace(0, 1, count) has them: the grid that masks and crops are sampled on.
//
// Functions are static: files that are compiled once per instruction set each keep their own.
#pragma once

namespace hmeg {

// The distance of neighbours; 0 for a single point.
template <typename T, typename Index>
static inline T grid_step(Index count) {
  return count > 1 ? T(1) / T(count - 1) : T(0);
}

// Counted from the nearer end, so that both ends are exact; a single point lies at 0.
template <typename T, typename Index>
static inline T grid_point(Index index, Index count, T step) {
  return index < count / 2 || count == 1 ? step * T(index) : T(1) - step * T(count - 1 - index);
}

// The same with a step of its own, for loops in which a single point is set apart: how the compiler rounds what follows
// depends on that.
template <typename T, typename Index>
static inline T grid_point(Index index, Index count) {
  if (count == 1) return T(0);
  return grid_point(index, count, grid_step<T>(count));
}

}  // namespace hmeg
