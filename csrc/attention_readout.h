// attention_readout: c_n = tanh(mean over the symbols of expression n of x_v W), g_n = sum of sigmoid(x_v . c_n) x_v.
//
// x (V, C), weight (C, C) = W, out (N, C), gradients alike. batch (V,) non-decreasing, in [0, N).
#pragma once

#include "parameters.h"

namespace hmeg {

struct AttentionReadoutForward {
  const void *x, *weight;
  const int64_t* batch;
  void* out;
  int64_t symbols, graphs, channels;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(x), symbols * channels);
    list.array(HMEG_FIELD(weight), channels * channels);
    list.array(HMEG_FIELD(batch), symbols);
    list.array(HMEG_FIELD(out), graphs * channels);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(graphs));
    list.number(HMEG_FIELD(channels));
  }
};

// The gradient of weight is means^T @ grad_products, (N, C) each. On the CPU it is made here; on a GPU grad_weight is
// null and the product is left to the caller.
struct AttentionReadoutBackward {
  const void *grad, *x, *weight;
  const int64_t* batch;
  void *grad_x, *grad_weight;
  Sums *means, *grad_products;
  int64_t symbols, graphs, channels;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(grad), graphs * channels);
    list.array(HMEG_FIELD(x), symbols * channels);
    list.array(HMEG_FIELD(weight), channels * channels);
    list.array(HMEG_FIELD(batch), symbols);
    list.array(HMEG_FIELD(grad_x), symbols * channels);
    list.optional(HMEG_FIELD(grad_weight), channels * channels);
    list.array(HMEG_FIELD(means), graphs * channels);
    list.array(HMEG_FIELD(grad_products), graphs * channels);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(graphs));
    list.number(HMEG_FIELD(channels));
  }
};

}  // namespace hmeg
