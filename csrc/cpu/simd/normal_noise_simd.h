// Single-threaded normal_noise, declared once per instruction set; csrc/normal_noise.h says what it computes.
#pragma once

#include <cstdint>

// Blocks [begin, end) of four numbers, counted over all samples, each of which begins with a block of its own.
#define HMEG_DECLARE_NORMAL_NOISE(variant)                                                                           \
  namespace hmeg::simd::variant {                                                                                    \
  void normal_noise(const int64_t* indices, float* out, int64_t numbers, int64_t begin, int64_t end, uint64_t seed); \
  }

HMEG_DECLARE_NORMAL_NOISE(portable)
HMEG_DECLARE_NORMAL_NOISE(avx2)
HMEG_DECLARE_NORMAL_NOISE(avx512)
