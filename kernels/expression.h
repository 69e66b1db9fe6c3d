// The symbols of an expression, found on the device: `batch` is non-decreasing, so they are neighbours.
#pragma once

#include "device.h"

namespace hmeg {

struct Symbols {
  int64_t begin, end;
};

// The symbols of `graph`: a search that cuts the range into 32 parts at a time, a lane for each. All lanes of a warp
// call it and receive the same. Where batch is not sorted the answer is some range within [0, symbols).
HMEG_DEVICE Symbols symbols_of(const int64_t* batch, int64_t symbols, int64_t graph) {
  const int lane = thread_index() % 32;
  int64_t low[2] = {0, 0}, high[2] = {symbols, symbols};  // for the first symbol of `graph` and of `graph` + 1
  while (low[0] < high[0] || low[1] < high[1]) {
    HMEG_UNROLL
    for (int side = 0; side < 2; ++side) {
      const int64_t step = (high[side] - low[side] + 31) / 32, probe = low[side] + lane * step;
      const int64_t below = count_lanes(probe < high[side] && batch[probe] < graph + side);
      const int64_t next = low[side] + below * step;
      if (next < high[side]) high[side] = next;
      if (below > 0) low[side] += (below - 1) * step + 1;
    }
  }
  return {low[0], low[1]};
}

}  // namespace hmeg
