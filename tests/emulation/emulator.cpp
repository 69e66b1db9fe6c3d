#include "emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <vector>

#include "entry.h"

namespace hmeg::emulation {
namespace {

constexpr int kLanes = 32;
constexpr size_t kStackBytes = 128 * 1024;
constexpr size_t kSharedBytes = 48 * 1024;  // what a block may declare statically
constexpr size_t kExchangeBytes = 16;

enum class Order : int64_t { kAscending = 0, kDescending = 1, kRandom = 2 };
enum class State { kReady, kAtBarrier, kAtShuffle, kDone };

Order order = Order::kAscending;
std::mt19937_64 generator;

std::vector<int64_t> sequence(int64_t count) {
  std::vector<int64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0);
  if (order == Order::kDescending) std::reverse(numbers.begin(), numbers.end());
  if (order == Order::kRandom) std::shuffle(numbers.begin(), numbers.end(), generator);
  return numbers;
}

struct Fiber {
  int index = 0;
  State state = State::kDone;
  uint64_t shuffles = 0;  // how many this thread has begun
  bool started = false;
  jmp_buf resume_at;
  ucontext_t first_entry;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
};

struct Warp {
  // Two generations of values: a lane may begin the next shuffle while others still read the last one's.
  alignas(16) char values[2][kLanes][kExchangeBytes];
};

struct SharedBlock {
  const void* site;
  size_t bytes;
  std::unique_ptr<std::max_align_t[]> memory;
};

jmp_buf scheduler;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Warp> warps;
std::vector<SharedBlock> shared;
Fiber* current = nullptr;
int64_t current_block = 0;
const std::function<void()>* current_body = nullptr;
std::string error;

// _setjmp and _longjmp instead of swapcontext, which makes a system call each time.
__attribute__((noinline)) void leave_fiber() {
  if (_setjmp(current->resume_at) == 0) _longjmp(scheduler, 1);
}

void fiber_main() {
  for (;;) {  // a fiber is used again for the next block
    try {
      (*current_body)();
    } catch (const std::exception& failure) {
      if (error.empty()) {
        error = std::string(failure.what()) + " (block " + std::to_string(current_block) + ", thread " +
                std::to_string(current->index) + ")";
      }
    }
    current->state = State::kDone;
    leave_fiber();
  }
}

__attribute__((noinline)) void enter_fiber(Fiber* fiber) {
  current = fiber;
  if (_setjmp(scheduler) != 0) return;
  if (fiber->started) _longjmp(fiber->resume_at, 1);
  fiber->started = true;
  getcontext(&fiber->first_entry);
  fiber->first_entry.uc_stack.ss_sp = fiber->stack.get();
  fiber->first_entry.uc_stack.ss_size = kStackBytes;
  fiber->first_entry.uc_link = nullptr;
  makecontext(&fiber->first_entry, fiber_main, 0);
  setcontext(&fiber->first_entry);
}

// Runs a warp until each of its lanes is done or waits at a block barrier.
void run_warp(int64_t warp) {
  for (;;) {
    for (const int64_t lane : sequence(kLanes)) {
      Fiber* const fiber = fibers[warp * kLanes + lane].get();
      if (fiber->state == State::kReady) enter_fiber(fiber);
      if (!error.empty()) return;
    }
    int shuffling = 0;
    for (int lane = 0; lane < kLanes; ++lane) shuffling += fibers[warp * kLanes + lane]->state == State::kAtShuffle;
    if (shuffling == 0) return;
    if (shuffling != kLanes) {
      error = "a shuffle that only " + std::to_string(shuffling) + " lanes of a warp reached (block " +
              std::to_string(current_block) + ", warp " + std::to_string(warp) + ")";
      return;
    }
    for (int lane = 0; lane < kLanes; ++lane) fibers[warp * kLanes + lane]->state = State::kReady;
  }
}

void run_block(int threads) {
  shared.clear();
  for (int i = 0; i < threads; ++i) {
    fibers[i]->index = i;
    fibers[i]->state = State::kReady;
    fibers[i]->shuffles = 0;
  }
  for (;;) {
    for (const int64_t warp : sequence(threads / kLanes)) {
      run_warp(warp);
      if (!error.empty()) return;
    }
    const auto waiting = std::count_if(fibers.begin(), fibers.begin() + threads,
                                       [](const auto& fiber) { return fiber->state == State::kAtBarrier; });
    if (waiting == 0) return;
    if (waiting != threads) {
      error = "a barrier that only " + std::to_string(waiting) + " of " + std::to_string(threads) +
              " threads reached (block " + std::to_string(current_block) + ")";
      return;
    }
    for (int i = 0; i < threads; ++i) fibers[i]->state = State::kReady;
  }
}

}  // namespace

int64_t block_index() { return current_block; }

int thread_index() { return current->index; }

void sync_block() {
  current->state = State::kAtBarrier;
  leave_fiber();
}

void exchange(void* value, size_t size, int source_lane) {
  if (size > kExchangeBytes) throw Error("a shuffle of " + std::to_string(size) + " bytes");
  Warp& warp = warps[current->index / kLanes];
  auto& values = warp.values[current->shuffles++ % 2];
  std::memcpy(values[current->index % kLanes], value, size);
  current->state = State::kAtShuffle;
  leave_fiber();
  std::memcpy(value, values[source_lane], size);
}

void* shared_memory(const void* site, size_t bytes) {
  size_t total = bytes;
  for (const SharedBlock& block : shared) {
    if (block.site == site) return block.memory.get();
    total += block.bytes;
  }
  if (total > kSharedBytes) throw Error(std::to_string(total) + " bytes of shared memory in one block");
  const size_t units = (bytes + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t);
  shared.push_back({site, bytes, std::unique_ptr<std::max_align_t[]>(new std::max_align_t[units])});
  std::memset(shared.back().memory.get(), 0xff, units * sizeof(std::max_align_t));  // all ones: NaN in every float type
  return shared.back().memory.get();
}

const char* run(int64_t blocks, int threads, const std::function<void()>& body) {
  static std::mutex one_launch_at_a_time;
  static std::string last_error;
  std::lock_guard<std::mutex> lock(one_launch_at_a_time);
  while (fibers.size() < static_cast<size_t>(threads)) fibers.push_back(std::make_unique<Fiber>());
  warps.resize(threads / kLanes);
  current_body = &body;
  error.clear();
  for (const int64_t block : sequence(blocks)) {
    current_block = block;
    run_block(threads);
    if (!error.empty()) {
      fibers.clear();  // some stopped half way
      last_error = "emulated kernel: " + error;
      return last_error.c_str();
    }
  }
  return nullptr;
}

}  // namespace hmeg::emulation

// order: 0 ascending, 1 descending, 2 random (with this seed) for blocks, warps and lanes.
extern "C" void hmeg_emulation_configure(int64_t order, int64_t seed) {
  hmeg::emulation::order = static_cast<hmeg::emulation::Order>(order);
  hmeg::emulation::generator.seed(static_cast<uint64_t>(seed));
}

// Entry points of the library, numbered from 0, for library.py.
namespace {

const hmeg::Entry* entry_of(int64_t number) {
  const hmeg::Entry* entry = hmeg::first_entry();
  for (; entry != nullptr && number > 0; --number) entry = entry->next;
  return entry;
}

}  // namespace

extern "C" {

// Null past the last one.
const char* hmeg_emulation_entry(int64_t number) {
  const hmeg::Entry* const entry = entry_of(number);
  return entry == nullptr ? nullptr : entry->name;
}
// The name of a field, or null past the last one; to `about`: kind, written, optional, strided, and with the
// structure's values in `parameters`, how many items are reached and the limit of indices.
const char* hmeg_emulation_field(int64_t number, int64_t place, void* parameters, int64_t* about) {
  static thread_local std::vector<hmeg::Field> fields;
  fields = entry_of(number)->fields(parameters);
  if (place >= static_cast<int64_t>(fields.size())) return nullptr;
  const hmeg::Field& field = fields[place];
  const int64_t all[] = {
      static_cast<int64_t>(field.kind), field.written, field.optional, field.strided, field.count, field.limit};
  std::copy(std::begin(all), std::end(all), about);
  return field.name;
}
const char* hmeg_emulation_run(int64_t number, const void* parameters, int64_t dtype, void* workspace) {
  hmeg::Call call;
  call.dtype = dtype;
  call.workspace = workspace;
  return entry_of(number)->run(parameters, call);
}
// Bytes of workspace.
int64_t hmeg_emulation_workspace(int64_t number, const void* parameters, int64_t dtype) {
  hmeg::Call call;
  call.dtype = dtype;
  const hmeg::Entry* const entry = entry_of(number);
  return entry->workspace == nullptr ? 0 : entry->workspace(parameters, call);
}
}
