// box_soft_mask on the CPU: symbols shared out among threads; one symbol's work is one thread's, so results do not
// depend on the number of threads.
#include "box_soft_mask.h"

#include <vector>

#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/box_soft_mask_simd.h"
#include "cpu/variants.h"

namespace hmeg::cpu {
namespace {

// Symbols per range: about 64 KiB of mask, so that waking a thread pays.
int64_t grain_of(int64_t height, int64_t width) { return (int64_t(16384) + height * width - 1) / (height * width); }

}  // namespace
}  // namespace hmeg::cpu

const char* hmeg_cpu_box_soft_mask_forward(int64_t dtype, const void* boxes, void* masks, int64_t symbols,
                                           int64_t height, int64_t width, int64_t threads, int64_t variant) {
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      const int64_t per_worker = HMEG_BOX_SOFT_MASK_SCRATCH(height, width);
      std::vector<T> scratch(threads * per_worker);
      parallel_for(symbols, grain_of(height, width), threads, [&](int64_t begin, int64_t end, int64_t worker) {
        HMEG_VARIANT_CALL(chosen, box_soft_mask_forward, static_cast<const T*>(boxes), static_cast<T*>(masks), begin,
                          end, height, width, scratch.data() + worker * per_worker);
      });
    });
  });
}

const char* hmeg_cpu_box_soft_mask_backward(int64_t dtype, const void* grad_masks, const void* boxes, void* grad_boxes,
                                            int64_t symbols, int64_t height, int64_t width, int64_t threads,
                                            int64_t variant) {
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      const int64_t per_worker = HMEG_BOX_SOFT_MASK_SCRATCH(height, width);
      std::vector<T> scratch(threads * per_worker);
      parallel_for(symbols, grain_of(height, width), threads, [&](int64_t begin, int64_t end, int64_t worker) {
        HMEG_VARIANT_CALL(chosen, box_soft_mask_backward, static_cast<const T*>(grad_masks),
                          static_cast<const T*>(boxes), static_cast<T*>(grad_boxes), begin, end, height, width,
                          scratch.data() + worker * per_worker);
      });
    });
  });
}
