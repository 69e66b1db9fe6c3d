// box_layout: layout[n, c, i, j] = sum over the symbols v of expression n of mask_v[i, j] * features[v, c], mask_v
// being the soft mask of box v (box_soft_mask.h). A mask is the product of a ramp down and a ramp across and is never
// stored.
//
// features (V, C), boxes (V, 4), layout (N, C, H, W), their gradients alike. batch (V,) non-decreasing, in [0, N): an
// expression's symbols are neighbours. On a GPU a symbol whose batch is not in [0, N) is left out, and its gradients
// are zero.
#pragma once

#include "parameters.h"

namespace hmeg {

struct BoxLayoutForward {
  const void *features, *boxes;
  const int64_t* batch;
  void* layout;
  int64_t symbols, graphs, channels, height, width;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(features), symbols * channels);
    list.array(HMEG_FIELD(boxes), 4 * symbols);
    list.array(HMEG_FIELD(batch), symbols);
    list.array(HMEG_FIELD(layout), graphs * channels * height * width);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(graphs));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(height));
    list.number(HMEG_FIELD(width));
  }
};

struct BoxLayoutBackward {
  const void *grad_layout, *features, *boxes;
  const int64_t* batch;
  void *grad_features, *grad_boxes;
  int64_t symbols, graphs, channels, height, width;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(grad_layout), graphs * channels * height * width);
    list.array(HMEG_FIELD(features), symbols * channels);
    list.array(HMEG_FIELD(boxes), 4 * symbols);
    list.array(HMEG_FIELD(batch), symbols);
    list.array(HMEG_FIELD(grad_features), symbols * channels);
    list.array(HMEG_FIELD(grad_boxes), 4 * symbols);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(graphs));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(height));
    list.number(HMEG_FIELD(width));
  }
};

}  // namespace hmeg
