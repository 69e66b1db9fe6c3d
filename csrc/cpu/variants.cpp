#include "cpu/variants.h"

#include <stdexcept>
#include <string>

namespace hmeg::cpu {

Variant best_variant() {
#ifdef HMEG_X86_VARIANTS
  static const Variant best = [] {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    return avx512 ? kAvx512 : avx2 ? kAvx2 : kPortable;
  }();
  return best;
#else
  return kPortable;
#endif
}

Variant checked_variant(int64_t requested) {
  if (requested == kBest) return best_variant();
  if (requested < kPortable || requested > best_variant()) {
    throw std::invalid_argument("CPU variant " + std::to_string(requested) + " cannot run here; the best is " +
                                kVariantNames[best_variant()]);
  }
  return static_cast<Variant>(requested);
}

}  // namespace hmeg::cpu
