// `count` points from 0 to 1, as torch.linspace(0, 1, count) has them: the grid that masks and crops are sampled on.
#pragma once

#include "device.h"

namespace hmeg {

// The distance of neighbours; 0 for a single point.
template <typename A>
HMEG_DEVICE A grid_step(int64_t count) {
  return count > 1 ? A(1) / A(count - 1) : A(0);
}

// Counted from the nearer end, so that both ends are exact; a single point lies at 0.
template <typename A>
HMEG_DEVICE A grid_point(int64_t index, int64_t count, A step) {
  return index < count / 2 || count == 1 ? step * A(index) : A(1) - step * A(count - 1 - index);
}

}  // namespace hmeg
