#include "cpu/parallel.h"

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace hmeg::cpu {
namespace {

const pid_t loaded_by = getpid();

// Ranges that threads take one after another.
struct Job {
  int64_t count, grain, threads;
  RangeBody body;
  void* context;
  std::atomic<int64_t> next{0}, workers{0};

  void work(int64_t worker) {
    for (;;) {
      const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) return;
      body(context, begin, std::min(begin + grain, count), worker);
    }
  }
};

// The threads of the OpenMP runtime that torch runs on, where it has one. They spin for milliseconds after each of
// torch's operations, waiting for the next: threads of our own would have to fight them for the cores, and to be woken.
// (GNU's runtime has this entry point; LLVM's and Intel's have it too, for programs compiled by GCC.)
class Team {
 public:
  Team() {
    if (void* const torch = dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD)) {
      parallel_ = reinterpret_cast<Parallel>(dlsym(torch, "GOMP_parallel"));
      dlclose(torch);
    }
  }

  // Returns false, having done nothing, when there is no such runtime, or when this process is a fork of the one that
  // loaded this module: the runtime would wait for threads that were left behind.
  bool run(Job& job) const {
    if (parallel_ == nullptr || loaded_by != getpid()) return false;
    // As many as torch has, not as many as there are ranges: a team that changes its size ends threads and starts them.
    parallel_(take_part, &job, static_cast<unsigned>(job.threads), 0);
    return true;
  }

 private:
  using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

  static void take_part(void* job) {
    auto& mine = *static_cast<Job*>(job);
    mine.work(mine.workers.fetch_add(1, std::memory_order_relaxed));
  }

  Parallel parallel_ = nullptr;
};

class Pool {
 public:
  // Returns false, having done nothing, when another thread's job holds the pool.
  bool run(Job& job) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      while (workers_ < job.threads - 1) {
        std::thread([this, worker = ++workers_, seen = jobs_] { serve(worker, seen); }).detach();
      }
      job_ = &job;
      wanted_ = running_ = job.threads - 1;
      ++jobs_;
    }
    wake_.notify_all();
    job.work(0);
    {
      std::unique_lock<std::mutex> lock(mutex_);
      done_.wait(lock, [this] { return running_ == 0; });
    }
    busy_.store(false, std::memory_order_release);
    return true;
  }

 private:
  void serve(int64_t worker, uint64_t seen) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return jobs_ != seen; });
      seen = jobs_;
      if (worker > wanted_) continue;
      Job& job = *job_;
      lock.unlock();
      job.work(worker);
      lock.lock();
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::atomic<bool> busy_{false};
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Job* job_ = nullptr;
  uint64_t jobs_ = 0;
  int64_t workers_ = 0, wanted_ = 0, running_ = 0;
};

// Threads do not survive a fork (a DataLoader's workers, say): a child process gets a pool of its own. Pools are never
// destroyed, because their threads may still wait in them when the process ends.
Pool& pool() {
  static std::mutex mutex;
  static Pool* current = nullptr;
  static pid_t owner = 0;
  std::lock_guard<std::mutex> lock(mutex);
  if (current == nullptr || owner != getpid()) {
    current = new Pool;
    owner = getpid();
  }
  return *current;
}

}  // namespace

void parallel_ranges(int64_t count, int64_t grain, int64_t threads, RangeBody body, void* context) {
  grain = std::max<int64_t>(grain, 1);
  if (threads > 1 && count > grain) {
    static const Team team;
    Job job{count, grain, threads, body, context};
    if (team.run(job)) return;
    job.threads = std::min(threads, (count + grain - 1) / grain);
    if (pool().run(job)) return;
  }
  if (count > 0) body(context, 0, count, 0);
}

void wait_a_little(int64_t times) {
  constexpr int64_t kSpins = 200;  // some microseconds: longer than most waits, shorter than being put aside and back
  if (times >= kSpins) {
    sched_yield();
    return;
  }
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace hmeg::cpu
