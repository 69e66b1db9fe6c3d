// normal_noise on the CPU: blocks of four numbers of all samples are shared out among threads; each is a function of
// its own place, so results do not depend on who makes it.
#include "normal_noise.h"

#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/normal_noise_simd.h"
#include "cpu/variants.h"
#include "entry.h"

namespace hmeg::cpu {
namespace {

constexpr int64_t kBlockGrain = 4096;  // 64 KiB of noise, so that waking a thread pays

const char* run(const NormalNoise& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    const int64_t blocks = given.samples * ((given.numbers + 3) / 4);  // a sample's last block may be cut off
    parallel_for(blocks, kBlockGrain, call.threads, [&](int64_t begin, int64_t end, int64_t) {
      HMEG_VARIANT_CALL(chosen, normal_noise, given.indices, given.out, given.numbers, begin, end,
                        static_cast<uint64_t>(given.seed));
    });
  });
}

HMEG_ENTRY(kCpu, normal_noise, run);

}  // namespace
}  // namespace hmeg::cpu
