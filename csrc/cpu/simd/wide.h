// Vectors for the loops of csrc/cpu/simd, as the compiler's own vector types.
#pragma once

#include <stdint.h>
#include <string.h>

namespace hmeg::simd::HMEG_SIMD {
namespace {

// Bytes of a register. Wider vectors work too, but the compiler may take them through memory.
#if defined(__AVX512F__)
constexpr int kRegisterBytes = 64;
#elif defined(__AVX__)
constexpr int kRegisterBytes = 32;
#else
constexpr int kRegisterBytes = 16;
#endif

// Numbers of T in a register.
template <typename T>
constexpr int kRegisterLanes = kRegisterBytes / int(sizeof(T));

// kCount numbers of T that are added and multiplied at once.
template <typename T, int kCount>
struct PackOf {
  typedef T type __attribute__((vector_size(kCount * sizeof(T))));
};
template <typename T>
struct PackOf<T, 1> {
  typedef T type;
};
template <typename T, int kCount = kRegisterLanes<T>>
using Pack = typename PackOf<T, kCount>::type;

// Four and eight numbers, whatever their size.
template <typename T>
struct Quad {
  typedef T type __attribute__((vector_size(4 * sizeof(T))));
};
template <typename T>
struct Octet {
  typedef T type __attribute__((vector_size(8 * sizeof(T))));
};

template <typename V, typename T>
inline V load_as(const T* from) {
  V value;
  memcpy(&value, from, sizeof value);
  return value;
}

template <typename V, typename T>
inline void store_as(T* to, V value) {
  memcpy(to, &value, sizeof value);
}

// The sum of a vector's numbers, from first to last.
template <typename T, typename V>
inline T sum_of(V value) {
  constexpr int kCount = sizeof(V) / sizeof(T);
  T lanes[kCount];
  memcpy(lanes, &value, sizeof lanes);
  T total = T(0);
  for (int lane = 0; lane < kCount; ++lane) total += lanes[lane];
  return total;
}

}  // namespace
}  // namespace hmeg::simd::HMEG_SIMD
