// refine_layout: layout[n, c, p] = sum over the symbols v of expression n of masks[v, p] * features[v, c], the masks
// those of refine_masks in evaluation mode, used as they are made.
//
// features (V, C), layout (N, C, H, W), the others as in refine_masks.h. batch (V,) non-decreasing, in [0, N): an
// expression's symbols are neighbours.
#pragma once

#include "parameters.h"

namespace hmeg {

struct RefineLayout {
  const void *boxes, *conv1_weight, *conv1_bias, *bn_weight, *bn_bias, *mean, *var, *conv2_weight, *conv2_bias,
      *features;
  const int64_t* batch;
  void* layout;
  int64_t symbols, graphs, hidden, channels, height, width;
  double eps;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(boxes), 4 * symbols);
    list.array(HMEG_FIELD(conv1_weight), 36 * hidden);
    list.array(HMEG_FIELD(conv1_bias), hidden);
    list.array(HMEG_FIELD(bn_weight), hidden);
    list.array(HMEG_FIELD(bn_bias), hidden);
    list.array(HMEG_FIELD(mean), hidden);
    list.array(HMEG_FIELD(var), hidden);
    list.array(HMEG_FIELD(conv2_weight), 9 * hidden);
    list.array(HMEG_FIELD(conv2_bias), 1);
    list.array(HMEG_FIELD(features), symbols * channels);
    list.array(HMEG_FIELD(batch), symbols);
    list.array(HMEG_FIELD(layout), graphs * channels * height * width);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(graphs));
    list.number(HMEG_FIELD(hidden));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(height));
    list.number(HMEG_FIELD(width));
    list.number(HMEG_FIELD(eps));
  }
};

}  // namespace hmeg
