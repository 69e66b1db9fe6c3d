// Single-threaded box_soft_mask over a range of symbols, declared once per instruction set.
#pragma once

#include "cpu/simd/variant.h"

// Scalars of scratch that each function needs for a mask of height x width.
#define HMEG_BOX_SOFT_MASK_SCRATCH(height, width) (3 * ((height) + (width)) + (width))

#define HMEG_DECLARE_BOX_SOFT_MASK(T)                                                                             \
  void box_soft_mask_forward(const T* boxes, T* masks, int64_t begin, int64_t end, int64_t height, int64_t width, \
                             T* scratch);                                                                         \
  void box_soft_mask_backward(const T* grad_masks, const T* boxes, T* grad_boxes, int64_t begin, int64_t end,     \
                              int64_t height, int64_t width, T* scratch);

HMEG_DECLARE_VARIANTS(HMEG_DECLARE_BOX_SOFT_MASK)
