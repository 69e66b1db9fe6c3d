// Work sharing for the CPU kernels: torch's threads, or a pool of our own; as many as the caller asks for.
#pragma once

#include <cstdint>

namespace hmeg::cpu {

// Does items [begin, end) as worker number `worker` (0 <= worker < threads). Must not throw.
using RangeBody = void (*)(void* context, int64_t begin, int64_t end, int64_t worker);

// Runs body over [0, count) in ranges of at most `grain` items on up to `threads` threads, the caller's one among them,
// and returns when all is done. Which worker takes a range is not defined, so a result must not depend on it.
void parallel_ranges(int64_t count, int64_t grain, int64_t threads, RangeBody body, void* context);

template <typename Body>
void parallel_for(int64_t count, int64_t grain, int64_t threads, Body body) {
  parallel_ranges(
      count, grain, threads,
      [](void* context, int64_t begin, int64_t end, int64_t worker) {
        (*static_cast<Body*>(context))(begin, end, worker);
      },
      &body);
}

}  // namespace hmeg::cpu
