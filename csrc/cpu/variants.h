// The instruction sets the CPU kernels are compiled for, and which of them this processor runs. "amx" is AVX-512, but
// for operators that have products for its matrix unit (cpu/amx).
#pragma once

#include <cstdint>

namespace hmeg::cpu {

enum Variant : int64_t { kBest = -1, kPortable = 0, kAvx2 = 1, kAvx512 = 2, kAmx = 3 };

constexpr const char* kVariantNames[] = {"portable", "avx2", "avx512", "amx"};

// The best variant that is compiled in and that this processor runs.
Variant best_variant();

// `requested` itself, or the best for kBest; throws std::invalid_argument where it cannot run.
Variant checked_variant(int64_t requested);

}  // namespace hmeg::cpu

// Calls FUNCTION, declared in every hmeg::simd::<variant>, of the given variant with the arguments that follow.
#ifdef HMEG_X86_VARIANTS
#define HMEG_VARIANT_CALL(variant, FUNCTION, ...)      \
  do {                                                 \
    switch (variant) {                                 \
      case ::hmeg::cpu::kAmx:                          \
      case ::hmeg::cpu::kAvx512:                       \
        ::hmeg::simd::avx512::FUNCTION(__VA_ARGS__);   \
        break;                                         \
      case ::hmeg::cpu::kAvx2:                         \
        ::hmeg::simd::avx2::FUNCTION(__VA_ARGS__);     \
        break;                                         \
      default:                                         \
        ::hmeg::simd::portable::FUNCTION(__VA_ARGS__); \
        break;                                         \
    }                                                  \
  } while (false)
#else
#define HMEG_VARIANT_CALL(variant, FUNCTION, ...)  \
  do {                                             \
    (void)(variant);                               \
    ::hmeg::simd::portable::FUNCTION(__VA_ARGS__); \
  } while (false)
#endif
