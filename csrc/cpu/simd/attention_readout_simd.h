// Single-threaded parts of attention_readout, declared once per instruction set; csrc/attention_readout.h says what the
// arrays are. context and spare hold C numbers each.
#pragma once

#include "cpu/simd/variant.h"

#define HMEG_DECLARE_ATTENTION_READOUT(T)                                                                             \
  /* g (C,) of the expression of symbols [begin, end) */                                                              \
  void attention_readout_forward(const T* x, const T* weight, T* g, T* context, T* spare, int64_t begin, int64_t end, \
                                 int64_t channels);                                                                   \
  /* grad_x of symbols [begin, end), and their expression's mean (C,) and gradient of mean W (C,) */                  \
  void attention_readout_backward(const T* grad, const T* x, const T* weight, T* mean, T* grad_context, T* grad_x,    \
                                  T* context, T* spare, int64_t begin, int64_t end, int64_t channels);                \
  /* rows [begin, end) of grad_weight: products of means and gradients of mean W, summed over expressions */          \
  void attention_readout_backward_weight(const T* means, const T* grad_contexts, T* grad_weight, int64_t begin,       \
                                         int64_t end, int64_t graphs, int64_t channels);

HMEG_DECLARE_VARIANTS(HMEG_DECLARE_ATTENTION_READOUT)
