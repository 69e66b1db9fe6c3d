// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
//
// All three are small matrix products. Each keeps a few vectors of sums in registers and adds in a fixed order.
#include "cpu/simd/compose_layout_simd.h"

#include <string.h>

namespace hmeg::simd::HMEG_SIMD {
namespace {

// 64 bytes of T: one AVX-512 register, two of AVX, four of SSE.
template <typename T>
struct Wide {
  typedef T type __attribute__((vector_size(64)));
  static constexpr int64_t kLanes = 64 / sizeof(T);
};

template <typename T>
inline typename Wide<T>::type load(const T* from) {
  typename Wide<T>::type value;
  memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
inline void store(T* to, typename Wide<T>::type value) {
  memcpy(to, &value, sizeof value);
}

template <typename T>
inline T sum(typename Wide<T>::type value) {
  T total = T(0);
  for (int64_t lane = 0; lane < Wide<T>::kLanes; ++lane) total += value[lane];
  return total;
}

// out[r, p] = sum over k in [0, count) of left[k * left_step + r * left_row] * right[k * pixels + p], for kRows rows
// (out_row apart) and for pixels [0, width); right's rows are `pixels` apart.
template <typename T, int kRows>
void product(const T* left, int64_t left_step, int64_t left_row, const T* right, int64_t pixels, int64_t count, T* out,
             int64_t out_row, int64_t width) {
  using V = typename Wide<T>::type;
  constexpr int64_t kLanes = Wide<T>::kLanes;
  int64_t p = 0;
  for (; p + 2 * kLanes <= width; p += 2 * kLanes) {
    V low[kRows] = {}, high[kRows] = {};
    for (int64_t k = 0; k < count; ++k) {
      const V a = load(right + k * pixels + p), b = load(right + k * pixels + p + kLanes);
      for (int r = 0; r < kRows; ++r) {
        const T factor = left[k * left_step + r * left_row];
        low[r] += factor * a;
        high[r] += factor * b;
      }
    }
    for (int r = 0; r < kRows; ++r) {
      store(out + r * out_row + p, low[r]);
      store(out + r * out_row + p + kLanes, high[r]);
    }
  }
  for (; p < width; ++p) {
    for (int r = 0; r < kRows; ++r) {
      T total = T(0);
      for (int64_t k = 0; k < count; ++k) total += left[k * left_step + r * left_row] * right[k * pixels + p];
      out[r * out_row + p] = total;
    }
  }
}

// The same for any number of rows.
template <typename T>
void products(const T* left, int64_t left_step, int64_t left_row, const T* right, int64_t pixels, int64_t count, T* out,
              int64_t out_row, int64_t width, int64_t rows) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    product<T, 4>(left + r * left_row, left_step, left_row, right, pixels, count, out + r * out_row, out_row, width);
  }
  for (; r < rows; ++r) {
    product<T, 1>(left + r * left_row, left_step, left_row, right, pixels, count, out + r * out_row, out_row, width);
  }
}

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
