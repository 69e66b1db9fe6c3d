// compose_layout: layout[n, c, p] = sum over the symbols v of expression n of masks[v, p] * features[v, c].
//
// masks (V, P), features (V, C), layout (N, C, P), their gradients alike. batch (V,) non-decreasing, in [0, N): an
// expression's symbols are neighbours. On a GPU nothing can tell of a batch that is not as promised without waiting for
// it: such symbols are left out of the layout, and their gradients are not written.
#pragma once

#include "parameters.h"

namespace hmeg {

struct ComposeLayoutForward {
  const void *masks, *features;
  const int64_t* batch;
  void* layout;
  int64_t symbols, graphs, channels, pixels;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(masks), symbols * pixels);
    list.array(HMEG_FIELD(features), symbols * channels);
    list.array(HMEG_FIELD(batch), symbols);
    list.array(HMEG_FIELD(layout), graphs * channels * pixels);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(graphs));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(pixels));
  }
};

struct ComposeLayoutBackward {
  const void *grad_layout, *masks, *features;
  const int64_t* batch;
  void *grad_masks, *grad_features;
  int64_t symbols, graphs, channels, pixels;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(grad_layout), graphs * channels * pixels);
    list.array(HMEG_FIELD(masks), symbols * pixels);
    list.array(HMEG_FIELD(features), symbols * channels);
    list.array(HMEG_FIELD(batch), symbols);
    list.array(HMEG_FIELD(grad_masks), symbols * pixels);
    list.array(HMEG_FIELD(grad_features), symbols * channels);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(graphs));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(pixels));
  }
};

}  // namespace hmeg
