// normal_noise on the CPU: blocks of four numbers of all samples are shared out among threads; each is a function of
// its own place, so results do not depend on who makes it.
#include "normal_noise.h"

#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/normal_noise_simd.h"
#include "cpu/variants.h"

namespace hmeg::cpu {
namespace {

constexpr int64_t kBlockGrain = 4096;  // 64 KiB of noise, so that waking a thread pays

}  // namespace
}  // namespace hmeg::cpu

const char* hmeg_cpu_normal_noise(const int64_t* indices, float* out, int64_t samples, int64_t numbers, int64_t seed,
                                  int64_t threads, int64_t variant) {
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    const int64_t blocks = samples * ((numbers + 3) / 4);  // a sample's last block may be cut off
    parallel_for(blocks, kBlockGrain, threads, [&](int64_t begin, int64_t end, int64_t) {
      HMEG_VARIANT_CALL(chosen, normal_noise, indices, out, numbers, begin, end, static_cast<uint64_t>(seed));
    });
  });
}
