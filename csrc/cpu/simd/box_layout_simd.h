// Single-threaded parts of box_layout, declared once per instruction set.
#pragma once

#include "cpu/simd/variant.h"

namespace hmeg {

constexpr int64_t kBoxLayoutChannels = 4;  // channels of one block

// Where a box's mask, or its derivative, is not zero.
struct BoxSupport {
  int32_t left, right, top, bottom;
};

}  // namespace hmeg

#define HMEG_DECLARE_BOX_LAYOUT(T)                                                                                    \
  /* ramps (V, H + W): each symbol's factors of the rows, then of the columns; and their supports; of [begin, end) */ \
  void box_layout_ramps(const T* boxes, T* ramps, BoxSupport* supports, int64_t begin, int64_t end, int64_t height,   \
                        int64_t width);                                                                               \
  /* layout of expression `graph`, symbols [begin, end), channels [channel, channel + kBoxLayoutChannels) as far */   \
  /* as there are */                                                                                                  \
  void box_layout_forward(const T* features, const T* ramps, const BoxSupport* supports, T* layout, int64_t graph,    \
                          int64_t begin, int64_t end, int64_t channel, int64_t channels, int64_t height,              \
                          int64_t width);                                                                             \
  /* gradients of symbols [begin, end) */                                                                             \
  void box_layout_backward(const T* grad_layout, const T* features, const T* boxes, const int64_t* batch,             \
                           T* grad_features, T* grad_boxes, int64_t begin, int64_t end, int64_t channels,             \
                           int64_t height, int64_t width, T* scratch);

HMEG_DECLARE_VARIANTS(HMEG_DECLARE_BOX_LAYOUT)
