// Vectors for the loops of csrc/cpu/simd: the compiler lowers them to what the instruction set has.
#pragma once

#include <stdint.h>
#include <string.h>

namespace hmeg::simd::HMEG_SIMD {
namespace {

// 64 bytes of T: one AVX-512 register, two of AVX, four of SSE.
template <typename T>
struct Wide {
  typedef T type __attribute__((vector_size(64)));
  static constexpr int64_t kLanes = 64 / sizeof(T);
};

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

template <typename T>
inline typename Wide<T>::type load(const T* from) {
  return load_as<typename Wide<T>::type>(from);
}

template <typename T>
inline void store(T* to, typename Wide<T>::type value) {
  store_as(to, value);
}

template <typename T>
inline T sum(typename Wide<T>::type value) {
  T total = T(0);
  for (int64_t lane = 0; lane < Wide<T>::kLanes; ++lane) total += value[lane];
  return total;
}

}  // namespace
}  // namespace hmeg::simd::HMEG_SIMD
