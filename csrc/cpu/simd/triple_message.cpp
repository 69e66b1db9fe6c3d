// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
//
// Everything here waits for memory: rows of a tile come from the second-level cache, those of sums from the first.
#include "cpu/simd/triple_message_simd.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

constexpr int64_t kBits = 32;
constexpr int64_t kAhead = 4;          // rows to fetch before they are needed: rows are too far apart for the hardware
constexpr int64_t kLineBytes = 64;

// Written so that NaN falls through.
template <typename T>
inline T relu(T value) {
  return value < T(0) ? T(0) : value;
}

template <typename T>
inline void fetch(const T* row, int64_t columns) {
  for (int64_t c = 0; c < columns; c += kLineBytes / sizeof(T)) __builtin_prefetch(row + c);
}

// value[c] = ReLU(product[c] + bias[c]), and its signs; kCount is known where a word is full.
template <typename T>
inline void activate(const T* __restrict product, const T* __restrict bias, T* __restrict value, int64_t count) {
  for (int64_t c = 0; c < count; ++c) value[c] = relu(product[c] + bias[c]);
}

template <typename T>
inline uint32_t signs_of(const T* value, int64_t count) {
  uint32_t word = 0;
  if (count == kBits) {
    for (int64_t c = 0; c < kBits; ++c) word |= uint32_t(value[c] > T(0)) << c;
  } else {
    for (int64_t c = 0; c < count; ++c) word |= uint32_t(value[c] > T(0)) << c;
  }
  return word;
}

// value[c] = ReLU(product[c] + bias[c]) for a block, and its signs unless `signs` is null.
template <typename T>
inline void activate_block(const T* product, const T* bias, T* value, int32_t* signs, int64_t columns) {
  activate(product, bias, value, columns);
  if (signs == nullptr) return;
  for (int64_t c = 0; c < columns; c += kBits) {
    signs[c / kBits] = int32_t(signs_of(value + c, columns - c < kBits ? columns - c : kBits));
  }
}

template <typename T>
inline void add(const T* __restrict value, T* __restrict sum, int64_t columns) {
  for (int64_t c = 0; c < columns; ++c) sum[c] += value[c];
}

// out[c] = grad[c] where its bit is set, else 0, and that is added to sum[c]; for up to one word.
template <typename T>
inline void pass(const T* __restrict grad, uint32_t word, T* __restrict out, T* __restrict sum, int64_t count) {
  for (int64_t c = 0; c < count; ++c) {
    const T passed = (word >> c) & 1u ? grad[c] : T(0);
    out[c] = passed;
    sum[c] += passed;
  }
}

// The same for a row of any length; returns the signs after its own.
template <typename T>
inline const int32_t* pass_row(const T* grad, const int32_t* signs, T* out, T* sum, int64_t count) {
  int64_t c = 0;
  for (; c + kBits <= count; c += kBits) pass(grad + c, uint32_t(*signs++), out + c, sum + c, kBits);
  if (c < count) pass(grad + c, uint32_t(*signs++), out + c, sum + c, count - c);
  return signs;
}

}  // namespace

#define HMEG_DEFINE_TRIPLE_MESSAGE(T)                                                                                 \
  void triple_message_hidden(const T* from_subject, const T* from_object, const T* from_type, const int64_t* subject,  \
                             const int64_t* object, const int64_t* type, T* activations, int64_t begin, int64_t end,    \
                             int64_t hidden) {                                                                        \
    for (int64_t e = begin; e < end; ++e) {                                                                           \
      const T* __restrict const a = from_subject + subject[e] * hidden;                                               \
      const T* __restrict const b = from_object + object[e] * hidden;                                                 \
      T* __restrict const row = activations + e * hidden;                                                             \
      if (from_type == nullptr) {                                                                                     \
        for (int64_t c = 0; c < hidden; ++c) row[c] = relu(a[c] + b[c] + row[c]);                                     \
      } else {                                                                                                        \
        const T* __restrict const t = from_type + type[e] * hidden;                                                   \
        for (int64_t c = 0; c < hidden; ++c) row[c] = relu(a[c] + b[c] + t[c]);                                       \
      }                                                                                                               \
    }                                                                                                                 \
  }                                                                                                                   \
  void triple_message_pool_nodes(const T* products, int64_t products_step, const T* bias, const int64_t* node,        \
                                 T* sums, int64_t sums_step, int32_t* signs, int64_t signs_step, int64_t edges,       \
                                 int64_t columns) {                                                                   \
    T value[kMessageColumns];                                                                                         \
    for (int64_t e = 0; e < edges; ++e) {                                                                             \
      if (e + kAhead < edges) fetch(products + (e + kAhead) * products_step, columns);                                \
      activate_block(products + e * products_step, bias, value, signs ? signs + e * signs_step : nullptr, columns);   \
      add(value, sums + node[e] * sums_step, columns);                                                                \
    }                                                                                                                 \
  }                                                                                                                   \
  void triple_message_keep_edges(const T* products, int64_t products_step, const T* bias, T* out, int64_t out_step,   \
                                 int32_t* signs, int64_t signs_step, int64_t edges, int64_t columns) {                \
    for (int64_t e = 0; e < edges; ++e) {                                                                             \
      if (e + kAhead < edges) fetch(products + (e + kAhead) * products_step, columns);                                \
      activate_block(products + e * products_step, bias, out + e * out_step,                                          \
                     signs ? signs + e * signs_step : nullptr, columns);                                              \
    }                                                                                                                 \
  }                                                                                                                   \
  void triple_message_unpool(const T* grad_pooled, const T* grad_edges, const int32_t* signs, const int64_t* subject,  \
                             const int64_t* object, T* grad_products, T* sums, int64_t begin, int64_t end,            \
                             int64_t hidden, int64_t out) {                                                           \
    const int64_t columns = 2 * hidden + out;                                                                         \
    const int64_t words = 2 * ((hidden + kBits - 1) / kBits) + (out + kBits - 1) / kBits;                             \
    for (int64_t c = 0; c < columns; ++c) sums[c] = T(0);                                                             \
    for (int64_t e = begin; e < end; ++e) {                                                                           \
      const int32_t* bits = signs + e * words;                                                                        \
      T* const row = grad_products + e * columns;                                                                     \
      bits = pass_row(grad_pooled + subject[e] * hidden, bits, row, sums, hidden);                                    \
      bits = pass_row(grad_pooled + object[e] * hidden, bits, row + hidden + out, sums + hidden + out, hidden);       \
      pass_row(grad_edges + e * out, bits, row + hidden, sums + hidden, out);                                         \
    }                                                                                                                 \
  }                                                                                                                   \
  void triple_message_scatter(const T* activations, const int64_t* subject, const int64_t* object,                    \
                              const int64_t* type, T* grad, T* for_subject, T* for_object, T* for_type, int64_t step,  \
                              int64_t edges, int64_t columns) {                                                       \
    for (int64_t e = 0; e < edges; ++e) {                                                                             \
      const T* __restrict const active = activations + e * step;                                                      \
      T* __restrict const row = grad + e * step;                                                                      \
      if (e + kAhead < edges) {                                                                                       \
        fetch(active + kAhead * step, columns);                                                                       \
        fetch(row + kAhead * step, columns);                                                                          \
      }                                                                                                               \
      for (int64_t c = 0; c < columns; ++c) row[c] = active[c] > T(0) ? row[c] : T(0);                                \
      add(row, for_subject + subject[e] * step, columns);                                                             \
      add(row, for_object + object[e] * step, columns);                                                               \
      if (for_type != nullptr) add(row, for_type + type[e] * step, columns);                                          \
    }                                                                                                                 \
  }

HMEG_DEFINE_TRIPLE_MESSAGE(float)
HMEG_DEFINE_TRIPLE_MESSAGE(double)

}  // namespace hmeg::simd::HMEG_SIMD
