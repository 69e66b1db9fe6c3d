// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
#include "cpu/simd/attention_readout_simd.h"

#include <math.h>

namespace hmeg::simd::HMEG_SIMD {
namespace {

inline float exponential(float value) { return expf(value); }
inline double exponential(double value) { return exp(value); }
inline float hyperbolic_tangent(float value) { return tanhf(value); }
inline double hyperbolic_tangent(double value) { return tanh(value); }

// 1 / (1 + e^-value), without overflow on either side.
template <typename T>
inline T sigmoid(T value) {
  const T e = exponential(value < T(0) ? value : -value);
  return value < T(0) ? e / (T(1) + e) : T(1) / (T(1) + e);
}

// Sixteen partial sums: a fixed order that still fills vectors.
template <typename T>
inline T dot(const T* __restrict a, const T* __restrict b, int64_t count) {
  T sums[16] = {};
  int64_t c = 0;
  for (; c + 16 <= count; c += 16) {
    for (int64_t lane = 0; lane < 16; ++lane) sums[lane] += a[c + lane] * b[c + lane];
  }
  for (; c < count; ++c) sums[0] += a[c] * b[c];
  T total = T(0);
  for (int64_t lane = 0; lane < 16; ++lane) total += sums[lane];
  return total;
}

template <typename T>
inline void clear(T* row, int64_t count) {
  for (int64_t c = 0; c < count; ++c) row[c] = T(0);
}

// sum += factor * row
template <typename T>
inline void add(T factor, const T* __restrict row, T* __restrict sum, int64_t count) {
  for (int64_t c = 0; c < count; ++c) sum[c] += factor * row[c];
}

// mean of rows [begin, end) of x, and context = tanh(mean W)
template <typename T>
void contextualise(const T* x, const T* weight, T* mean, T* context, int64_t begin, int64_t end, int64_t channels) {
  clear(mean, channels);
  clear(context, channels);
  for (int64_t v = begin; v < end; ++v) add(T(1), x + v * channels, mean, channels);
  for (int64_t c = 0; c < channels; ++c) mean[c] /= T(end - begin);
  for (int64_t c = 0; c < channels; ++c) add(mean[c], weight + c * channels, context, channels);
  for (int64_t c = 0; c < channels; ++c) context[c] = hyperbolic_tangent(context[c]);
}

}  // namespace

#define HMEG_DEFINE_ATTENTION_READOUT(T)                                                                              \
  void attention_readout_forward(const T* x, const T* weight, T* g, T* context, T* spare, int64_t begin, int64_t end, \
                                 int64_t channels) {                                                                  \
    clear(g, channels);                                                                                               \
    if (begin == end) return;                                                                                         \
    contextualise(x, weight, spare, context, begin, end, channels);                                                   \
    for (int64_t v = begin; v < end; ++v) {                                                                           \
      const T* const row = x + v * channels;                                                                          \
      add(sigmoid(dot(row, context, channels)), row, g, channels);                                                    \
    }                                                                                                                 \
  }                                                                                                                   \
  void attention_readout_backward(const T* grad, const T* x, const T* weight, T* mean, T* grad_context, T* grad_x,    \
                                  T* context, T* spare, int64_t begin, int64_t end, int64_t channels) {               \
    clear(mean, channels);                                                                                            \
    clear(grad_context, channels);                                                                                    \
    if (begin == end) return;                                                                                         \
    contextualise(x, weight, mean, context, begin, end, channels);                                                    \
    for (int64_t v = begin; v < end; ++v) {                                                                           \
      const T* const row = x + v * channels;                                                                          \
      T* const out = grad_x + v * channels;                                                                           \
      const T score = sigmoid(dot(row, context, channels));                                                           \
      const T slope = dot(grad, row, channels) * score * (T(1) - score);                                              \
      for (int64_t c = 0; c < channels; ++c) out[c] = score * grad[c] + slope * context[c];                           \
      add(slope, row, grad_context, channels);                                                                        \
    }                                                                                                                 \
    for (int64_t c = 0; c < channels; ++c) grad_context[c] *= T(1) - context[c] * context[c];                         \
    for (int64_t c = 0; c < channels; ++c) {                                                                          \
      spare[c] = dot(weight + c * channels, grad_context, channels) / T(end - begin);                                 \
    }                                                                                                                 \
    for (int64_t v = begin; v < end; ++v) add(T(1), spare, grad_x + v * channels, channels);                          \
  }                                                                                                                   \
  void attention_readout_backward_weight(const T* means, const T* grad_contexts, T* grad_weight, int64_t begin,       \
                                         int64_t end, int64_t graphs, int64_t channels) {                             \
    for (int64_t c = begin; c < end; ++c) {                                                                           \
      clear(grad_weight + c * channels, channels);                                                                    \
      for (int64_t n = 0; n < graphs; ++n) {                                                                          \
        add(means[n * channels + c], grad_contexts + n * channels, grad_weight + c * channels, channels);             \
      }                                                                                                               \
    }                                                                                                                 \
  }

HMEG_DEFINE_ATTENTION_READOUT(float)
HMEG_DEFINE_ATTENTION_READOUT(double)

}  // namespace hmeg::simd::HMEG_SIMD
