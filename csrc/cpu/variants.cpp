#include "cpu/variants.h"

#include <stdexcept>
#include <string>

#ifdef HMEG_WITH_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace hmeg::cpu {
namespace {

#ifdef HMEG_WITH_AMX
// Whether there are tiles of bfloat16, and the system lets this process use them: it must be asked once, since their
// 8 KB make the state of a thread larger.
bool has_amx() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  if ((edx & kBf16) == 0 || (edx & kTile) == 0 || !__builtin_cpu_supports("avx512bf16")) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
bool has_amx() { return false; }
#endif

}  // namespace

Variant best_variant() {
#ifdef HMEG_X86_VARIANTS
  static const Variant best = [] {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    return avx512 && has_amx() ? kAmx : avx512 ? kAvx512 : avx2 ? kAvx2 : kPortable;
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
