#include "cpu/parallel.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace hmeg::cpu {
namespace {

class Pool {
 public:
  // Returns false, having done nothing, when another thread's job holds the pool.
  bool run(int64_t count, int64_t grain, int64_t threads, RangeBody body, void* context) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      while (workers_ < threads - 1) {
        std::thread([this, worker = ++workers_, seen = job_] { serve(worker, seen); }).detach();
      }
      count_ = count, grain_ = grain, body_ = body, context_ = context;
      next_.store(0, std::memory_order_relaxed);
      wanted_ = running_ = threads - 1;
      ++job_;
    }
    wake_.notify_all();
    work(0);
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
      wake_.wait(lock, [&] { return job_ != seen; });
      seen = job_;
      if (worker > wanted_) continue;
      lock.unlock();
      work(worker);
      lock.lock();
      if (--running_ == 0) done_.notify_one();
    }
  }

  void work(int64_t worker) {
    for (;;) {
      const int64_t begin = next_.fetch_add(grain_, std::memory_order_relaxed);
      if (begin >= count_) return;
      body_(context_, begin, std::min(begin + grain_, count_), worker);
    }
  }

  std::atomic<bool> busy_{false};
  std::atomic<int64_t> next_{0};
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  uint64_t job_ = 0;
  int64_t workers_ = 0, wanted_ = 0, running_ = 0, count_ = 0, grain_ = 1;
  RangeBody body_ = nullptr;
  void* context_ = nullptr;
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
  threads = std::min(threads, (count + grain - 1) / grain);
  if (threads > 1 && pool().run(count, grain, threads, body, context)) return;
  if (count > 0) body(context, 0, count, 0);
}

}  // namespace hmeg::cpu
