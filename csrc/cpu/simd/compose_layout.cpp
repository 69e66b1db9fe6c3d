// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
//
// All three are small matrix products. Each keeps a few vectors of sums in registers and adds in a fixed order.
#include "cpu/simd/compose_layout_simd.h"

#include "cpu/simd/product.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

// out[r] = sum over p of a[p] * b[r * pixels + p], for kRows rows.
template <typename T, int kRows>
void dots(const T* a, const T* b, int64_t pixels, T* out) {
  using V = typename Wide<T>::type;
  constexpr int64_t kLanes = Wide<T>::kLanes;
  V sums[kRows] = {};
  T rest[kRows] = {};
  int64_t p = 0;
  for (; p + kLanes <= pixels; p += kLanes) {
    const V value = load(a + p);
    for (int r = 0; r < kRows; ++r) sums[r] += value * load(b + r * pixels + p);
  }
  for (; p < pixels; ++p) {
    for (int r = 0; r < kRows; ++r) rest[r] += a[p] * b[r * pixels + p];
  }
  for (int r = 0; r < kRows; ++r) out[r] = sum<T>(sums[r]) + rest[r];
}

inline int64_t at_most(int64_t value, int64_t limit) { return value < limit ? value : limit; }

}  // namespace

#define HMEG_DEFINE_COMPOSE_LAYOUT(T)                                                                                  \
  void compose_layout_forward(const T* masks, const T* features, T* layout, int64_t graph, int64_t begin, int64_t end, \
                              int64_t channel, int64_t channels, int64_t pixels) {                                     \
    products<T>(features + begin * channels + channel, channels, 1, masks + begin * pixels, pixels, end - begin,       \
                layout + (graph * channels + channel) * pixels, pixels, pixels,                                        \
                at_most(kComposeChannels, channels - channel));                                                        \
  }                                                                                                                    \
  void compose_layout_backward_masks(const T* grad_layout, const T* features, T* grad_masks, int64_t graph,            \
                                     int64_t begin, int64_t end, int64_t pixel, int64_t channels, int64_t pixels) {    \
    products<T>(features + begin * channels, 1, channels, grad_layout + graph * channels * pixels + pixel, pixels,     \
                channels, grad_masks + begin * pixels + pixel, pixels, at_most(kComposePixels, pixels - pixel),        \
                end - begin);                                                                                          \
  }                                                                                                                    \
  void compose_layout_backward_features(const T* grad_layout, const T* masks, T* grad_features, int64_t graph,         \
                                        int64_t begin, int64_t end, int64_t channel, int64_t channels,                 \
                                        int64_t pixels) {                                                              \
    const T* const grad = grad_layout + (graph * channels + channel) * pixels;                                         \
    const int64_t block = at_most(kComposeChannels, channels - channel);                                               \
    for (int64_t v = begin; v < end; ++v) {                                                                            \
      T* const out = grad_features + v * channels + channel;                                                           \
      if (block == kComposeChannels) {                                                                                 \
        dots<T, kComposeChannels>(masks + v * pixels, grad, pixels, out);                                              \
      } else {                                                                                                         \
        for (int64_t c = 0; c < block; ++c) dots<T, 1>(masks + v * pixels, grad + c * pixels, pixels, out + c);        \
      }                                                                                                                \
    }                                                                                                                  \
  }

HMEG_DEFINE_COMPOSE_LAYOUT(float)
HMEG_DEFINE_COMPOSE_LAYOUT(double)

}  // namespace hmeg::simd::HMEG_SIMD
