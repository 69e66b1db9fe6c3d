// A small CUDA for g++: every device thread is a fiber, one runs at a time. Included by kernels/device.h only.
//
// What it catches: reads of shared memory nobody wrote (poisoned with NaN), indices outside a shared array, a barrier
// or a shuffle that some thread does not reach, misaligned packs, more static shared memory than a block has, and, run
// with warps and blocks in ascending, descending and random order, results that depend on the order.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

#define HMEG_KERNEL void
#define HMEG_KERNEL_FITTED(threads, blocks) void
#define HMEG_DEVICE inline
#define HMEG_UNROLL
#define HMEG_UNROLL4
#define HMEG_SHARED(T, name, count)                                                          \
  const ::hmeg::emulation::SharedArray<T> name(::hmeg::emulation::shared_memory(             \
                                                   [] {                                      \
                                                     static char site;                       \
                                                     return static_cast<const void*>(&site); \
                                                   }(),                                      \
                                                   sizeof(T) * (count)),                     \
                                               count)

namespace hmeg::emulation {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

int64_t block_index();
int thread_index();
void sync_block();
// Hands `size` bytes to the warp and receives those of `source_lane`; every lane of the warp must take part.
void exchange(void* value, size_t size, int source_lane);
// This block's array for a declaration site: poisoned when the block first comes by.
void* shared_memory(const void* site, size_t bytes);
// Runs body() as every thread of every block; nullptr or the first error.
const char* run(int64_t blocks, int threads, const std::function<void()>& body);

template <typename T>
class SharedArray {
 public:
  SharedArray(void* data, int64_t count) : data_(static_cast<T*>(data)), count_(count) {}

  T& operator[](int64_t index) const {
    if (index < 0 || index >= count_) {
      throw Error("index " + std::to_string(index) + " in a shared array of " + std::to_string(count_));
    }
    return data_[index];
  }

 private:
  T* data_;
  int64_t count_;
};

}  // namespace hmeg::emulation

namespace hmeg {

using emulation::block_index;
using emulation::sync_block;
using emulation::thread_index;

using Half = _Float16;

struct BFloat16 {
  uint16_t bits = 0;
};

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }
inline float widen(Half value) { return static_cast<float>(value); }
inline float widen(BFloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}
inline void narrow_to(float& out, float value) { out = value; }
inline void narrow_to(double& out, double value) { out = value; }
inline void narrow_to(Half& out, float value) { out = static_cast<Half>(value); }
inline void narrow_to(BFloat16& out, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) {
    out.bits = 0x7fff;
  } else {
    out.bits = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // to nearest, ties to even
  }
}

template <typename A>
A shuffle_from(A value, int source_lane) {
  emulation::exchange(&value, sizeof value, source_lane);
  return value;
}
template <typename A>
A shuffle_xor(A value, int mask) {
  return shuffle_from(value, thread_index() % 32 ^ mask);
}
template <typename A>
A shuffle_down(A value, int distance) {
  const int lane = thread_index() % 32;
  return shuffle_from(value, lane + distance < 32 ? lane + distance : lane);
}

template <typename A>
A shuffle_up(A value, int distance) {
  const int lane = thread_index() % 32;
  return shuffle_from(value, lane >= distance ? lane - distance : lane);
}
inline int count_lanes(bool condition) {
  int count = condition ? 1 : 0;
  for (int mask = 16; mask > 0; mask /= 2) count += shuffle_xor(count, mask);
  return count;
}

inline float exponential(float value) { return std::exp(value); }
inline double exponential(double value) { return std::exp(value); }
inline float square_root(float value) { return std::sqrt(value); }
inline double square_root(double value) { return std::sqrt(value); }
inline float round_down(float value) { return std::floor(value); }
inline double round_down(double value) { return std::floor(value); }
// With -ffp-contract=off (library.py) no product and sum become one rounding.
inline float rounded_product(float a, float b) { return a * b; }
inline float rounded_sum(float a, float b) { return a + b; }
inline float rounded_root(float value) { return std::sqrt(value); }
inline int32_t bits_of(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float float_of(int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float positive_part(float value) { return value < 0.0f ? 0.0f : value; }
inline double positive_part(double value) { return value < 0.0 ? 0.0 : value; }

template <typename Wide>
void check_alignment(const Wide* address) {
  if (reinterpret_cast<std::uintptr_t>(address) % alignof(Wide) != 0) {
    throw emulation::Error("misaligned access of " + std::to_string(sizeof(Wide)) + " bytes");
  }
}

template <typename Wide>
void store_whole(Wide* to, const Wide& value) {
  *to = value;
}

template <int kBlock, typename... Parameters, typename... Arguments>
const char* launch(void (*kernel)(Parameters...), int64_t blocks, void*, Arguments... arguments) {
  static_assert(kBlock % 32 == 0 && kBlock <= 1024, "a block is a whole number of warps");
  return emulation::run(blocks, kBlock, [=] { kernel(arguments...); });
}

}  // namespace hmeg
