// Work sharing for the CPU kernels: torch's threads, or a pool of our own; as many as the caller asks for.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

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

// Called again and again while a thread waits for others, with 0, 1, 2 and so on.
void wait_a_little(int64_t times);

// Phases one after the other, each of items in any order; returns when all is done. make() gives every thread an object
// of its own with
//     int64_t items(int64_t phase)                           how many items a phase has; called for 0, 1, 2 and so on
//     void run(int64_t phase, int64_t item, int64_t worker)  does one of them; must not throw
// A phase begins when all items of the one before are done, whoever did them: a thread that the system has put aside
// holds nobody up unless it is in the middle of an item. (At the end of parallel_for every thread has to be waited for.
// Beside another process on the same cores that can take ten times as long as the work.)
template <typename Make>
void parallel_phases(int64_t phases, int64_t threads, Make make) {
  struct Progress {
    std::atomic<int64_t> next{0}, done{0};
  };
  std::vector<Progress> progress(phases);
  parallel_for(threads, 1, threads, [&](int64_t begin, int64_t end, int64_t worker) {
    for (int64_t pass = begin; pass < end; ++pass) {
      auto own = make();
      for (int64_t phase = 0; phase < phases; ++phase) {
        const int64_t count = own.items(phase);
        Progress& all = progress[phase];
        for (;;) {
          const int64_t item = all.next.fetch_add(1, std::memory_order_relaxed);
          if (item >= count) break;
          own.run(phase, item, worker);
          all.done.fetch_add(1, std::memory_order_release);
        }
        for (int64_t times = 0; all.done.load(std::memory_order_acquire) < count; ++times) wait_a_little(times);
      }
    }
  });
}

}  // namespace hmeg::cpu
