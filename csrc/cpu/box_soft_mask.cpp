// box_soft_mask on the CPU: symbols shared out among threads; one symbol's work is one thread's, so results do not
// depend on the number of threads.
#include "box_soft_mask.h"

#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/box_soft_mask_simd.h"
#include "cpu/variants.h"
#include "entry.h"

namespace hmeg::cpu {
namespace {

// Symbols per range: about 64 KiB of mask, so that waking a thread pays.
int64_t grain_of(int64_t height, int64_t width) { return (int64_t(16384) + height * width - 1) / (height * width); }

// Bytes of scratch for every thread.
template <typename P>
int64_t workspace(const P& given, const Call& call) {
  return call.threads * HMEG_BOX_SOFT_MASK_SCRATCH(given.height, given.width) * sum_bytes(call.dtype);
}

const char* run_forward(const BoxSoftMaskForward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      const int64_t per_worker = HMEG_BOX_SOFT_MASK_SCRATCH(given.height, given.width);
      T* const scratch = static_cast<T*>(call.workspace);
      parallel_for(given.symbols, grain_of(given.height, given.width), call.threads,
                   [&](int64_t begin, int64_t end, int64_t worker) {
                     HMEG_VARIANT_CALL(chosen, box_soft_mask_forward, static_cast<const T*>(given.boxes),
                                       static_cast<T*>(given.masks), begin, end, given.height, given.width,
                                       scratch + worker * per_worker);
                   });
    });
  });
}

HMEG_ENTRY(kCpu, box_soft_mask_forward, run_forward, workspace<BoxSoftMaskForward>);

const char* run_backward(const BoxSoftMaskBackward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      const int64_t per_worker = HMEG_BOX_SOFT_MASK_SCRATCH(given.height, given.width);
      T* const scratch = static_cast<T*>(call.workspace);
      parallel_for(given.symbols, grain_of(given.height, given.width), call.threads,
                   [&](int64_t begin, int64_t end, int64_t worker) {
                     HMEG_VARIANT_CALL(chosen, box_soft_mask_backward, static_cast<const T*>(given.grad_masks),
                                       static_cast<const T*>(given.boxes), static_cast<T*>(given.grad_boxes), begin,
                                       end, given.height, given.width, scratch + worker * per_worker);
                   });
    });
  });
}

HMEG_ENTRY(kCpu, box_soft_mask_backward, run_backward, workspace<BoxSoftMaskBackward>);

}  // namespace
}  // namespace hmeg::cpu
