// Single-threaded parts of triple_message, declared once per instruction set; csrc/triple_message.h says what they mean.
#pragma once

#include "cpu/simd/variant.h"

namespace hmeg {

constexpr int64_t kMessageColumns = 128;  // columns of one block: whole words of signs

}  // namespace hmeg

// Columns are [0, columns) from the pointers given; *_step is how far apart the rows of an array are.
#define HMEG_DECLARE_TRIPLE_MESSAGE(T)                                                                               \
  /* activations of edges [begin, end), all columns */                                                               \
  void triple_message_hidden(const T* from_subject, const T* from_object, const T* from_type, const int64_t* subject, \
                             const int64_t* object, const int64_t* type, T* activations, int64_t begin, int64_t end,   \
                             int64_t hidden);                                                                        \
  /* ReLU of one block of products: added to row node[i] of sums; at most kMessageColumns columns */                 \
  void triple_message_pool_nodes(const T* products, int64_t products_step, const T* bias, const int64_t* node,       \
                                 T* sums, int64_t sums_step, int32_t* signs, int64_t signs_step, int64_t edges,      \
                                 int64_t columns);                                                                   \
  /* ReLU of one block of products: written to out */                                                                \
  void triple_message_keep_edges(const T* products, int64_t products_step, const T* bias, T* out, int64_t out_step,  \
                                 int32_t* signs, int64_t signs_step, int64_t edges, int64_t columns);                \
  /* gradients of W2's outputs for edges [begin, end), all columns; their sums (2 K + C',) */                        \
  void triple_message_unpool(const T* grad_pooled, const T* grad_edges, const int32_t* signs, const int64_t* subject, \
                             const int64_t* object, T* grad_products, T* sums, int64_t begin, int64_t end,           \
                             int64_t hidden, int64_t out);                                                           \
  /* one block of columns of scatter */                                                                              \
  void triple_message_scatter(const T* activations, const int64_t* subject, const int64_t* object,                   \
                              const int64_t* type, T* grad, T* for_subject, T* for_object, T* for_type, int64_t step, \
                              int64_t edges, int64_t columns);

HMEG_DECLARE_VARIANTS(HMEG_DECLARE_TRIPLE_MESSAGE)
