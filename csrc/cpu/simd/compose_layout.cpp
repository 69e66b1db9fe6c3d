// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
//
// All three are small matrix products. Each keeps a few vectors of sums in registers and adds in a fixed order.
#include "cpu/simd/compose_layout_simd.h"

#include "cpu/simd/product.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

// out[m * out_row + c] = sum over p of a[m * pixels + p] * b[c * pixels + p], for kLeft rows of a and kRight of b.
template <typename T, int kLeft, int kRight>
void dots(const T* a, const T* b, int64_t pixels, T* out, int64_t out_row) {
  using P = Pack<T>;
  constexpr int64_t kLanes = kRegisterLanes<T>;
  P sums[kLeft][kRight] = {};
  T rest[kLeft][kRight] = {};
  int64_t p = 0;
  for (; p + kLanes <= pixels; p += kLanes) {
    P left[kLeft];
    for (int m = 0; m < kLeft; ++m) left[m] = load_as<P>(a + m * pixels + p);
    for (int c = 0; c < kRight; ++c) {
      const P right = load_as<P>(b + c * pixels + p);
      for (int m = 0; m < kLeft; ++m) sums[m][c] += left[m] * right;
    }
  }
  for (; p < pixels; ++p) {
    for (int m = 0; m < kLeft; ++m) {
      for (int c = 0; c < kRight; ++c) rest[m][c] += a[m * pixels + p] * b[c * pixels + p];
    }
  }
  for (int m = 0; m < kLeft; ++m) {
    for (int c = 0; c < kRight; ++c) out[m * out_row + c] = sum_of<T>(sums[m][c]) + rest[m][c];
  }
}

// The same for `rows` rows of a.
template <typename T, int kRight>
void dots_of_rows(const T* a, const T* b, int64_t pixels, T* out, int64_t out_row, int64_t rows) {
  int64_t m = 0;
  for (; m + 3 <= rows; m += 3) dots<T, 3, kRight>(a + m * pixels, b, pixels, out + m * out_row, out_row);
  if (rows - m == 2) dots<T, 2, kRight>(a + m * pixels, b, pixels, out + m * out_row, out_row);
  if (rows - m == 1) dots<T, 1, kRight>(a + m * pixels, b, pixels, out + m * out_row, out_row);
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
    const T* const rows = masks + begin * pixels;                                                                      \
    T* const out = grad_features + begin * channels + channel;                                                         \
    if (block == kComposeChannels) {                                                                                   \
      dots_of_rows<T, kComposeChannels>(rows, grad, pixels, out, channels, end - begin);                               \
    } else {                                                                                                           \
      for (int64_t c = 0; c < block; ++c) {                                                                            \
        dots_of_rows<T, 1>(rows, grad + c * pixels, pixels, out + c, channels, end - begin);                           \
      }                                                                                                                \
    }                                                                                                                  \
  }

HMEG_DEFINE_COMPOSE_LAYOUT(float)
HMEG_DEFINE_COMPOSE_LAYOUT(double)

}  // namespace hmeg::simd::HMEG_SIMD
