// Single-threaded parts of compose_layout, declared once per instruction set. `first` holds N + 1 rows: the symbols of
// expression n are first[n] .. first[n + 1] - 1.
#pragma once

#include "cpu/simd/variant.h"

namespace hmeg {

constexpr int64_t kComposeChannels = 4;  // channels of one block
constexpr int64_t kComposePixels = 256;  // pixels of one tile

}  // namespace hmeg

#define HMEG_DECLARE_COMPOSE_LAYOUT(T)                                                                                 \
  /* layout of expression `graph`, channels [channel, channel + kComposeChannels) as far as there are */               \
  void compose_layout_forward(const T* masks, const T* features, T* layout, int64_t graph, int64_t begin, int64_t end, \
                              int64_t channel, int64_t channels, int64_t pixels);                                      \
  /* grad_masks of symbols [begin, end), pixels [pixel, pixel + kComposePixels) as far as there are */                 \
  void compose_layout_backward_masks(const T* grad_layout, const T* features, T* grad_masks, int64_t graph,            \
                                     int64_t begin, int64_t end, int64_t pixel, int64_t channels, int64_t pixels);     \
  /* grad_features of symbols [begin, end), channels [channel, channel + kComposeChannels) as far as there are */      \
  void compose_layout_backward_features(const T* grad_layout, const T* masks, T* grad_features, int64_t graph,         \
                                        int64_t begin, int64_t end, int64_t channel, int64_t channels,                 \
                                        int64_t pixels);

HMEG_DECLARE_VARIANTS(HMEG_DECLARE_COMPOSE_LAYOUT)
