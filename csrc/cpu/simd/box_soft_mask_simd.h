// Single-threaded box_soft_mask over a range of symbols, declared once per instruction set.
#pragma once

#include <cstdint>

// Scalars of scratch that each function needs for a mask of height x width.
#define HMEG_BOX_SOFT_MASK_SCRATCH(height, width) (3 * ((height) + (width)) + (width))

#define HMEG_DECLARE_BOX_SOFT_MASK(T)                                                                              \
  void box_soft_mask_forward(const T* boxes, T* masks, int64_t begin, int64_t end, int64_t height, int64_t width,  \
                             T* scratch);                                                                          \
  void box_soft_mask_backward(const T* grad_masks, const T* boxes, T* grad_boxes, int64_t begin, int64_t end,      \
                              int64_t height, int64_t width, T* scratch);

#define HMEG_DECLARE_VARIANT(name)     \
  namespace hmeg::simd::name {         \
  HMEG_DECLARE_BOX_SOFT_MASK(float)    \
  HMEG_DECLARE_BOX_SOFT_MASK(double)   \
  }

HMEG_DECLARE_VARIANT(portable)
HMEG_DECLARE_VARIANT(avx2)
HMEG_DECLARE_VARIANT(avx512)

#undef HMEG_DECLARE_VARIANT
