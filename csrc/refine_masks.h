// refine_masks: the learned soft mask of a box. Four coordinate ramps through a 3x3 convolution to K channels, ReLU,
// BatchNorm, a 3x3 convolution to one, and a sigmoid.
//
// boxes (V, 4), conv1_weight (K, 4, 3, 3), conv2_weight (1, K, 3, 3), conv2_bias (1,), all other weights and the
// statistics (K,), masks and grad_masks (V, H, W). Gradients have the shape of what they belong to. V is at least 1 on
// the CPU. In training mode the forward pass writes the batch's mean and biased variance to `mean` and `var`; otherwise
// it reads the running statistics there.
#pragma once

#include "parameters.h"

namespace hmeg {

struct RefineMasksForward {
  const void *boxes, *conv1_weight, *conv1_bias, *bn_weight, *bn_bias;
  void *mean, *var;
  const void *conv2_weight, *conv2_bias;
  void* masks;
  int64_t symbols, channels, height, width, training;
  double eps;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(boxes), 4 * symbols);
    list.array(HMEG_FIELD(conv1_weight), 36 * channels);
    list.array(HMEG_FIELD(conv1_bias), channels);
    list.array(HMEG_FIELD(bn_weight), channels);
    list.array(HMEG_FIELD(bn_bias), channels);
    list.array(HMEG_FIELD(mean), channels);
    list.array(HMEG_FIELD(var), channels);
    list.array(HMEG_FIELD(conv2_weight), 9 * channels);
    list.array(HMEG_FIELD(conv2_bias), 1);
    list.array(HMEG_FIELD(masks), symbols * height * width);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(height));
    list.number(HMEG_FIELD(width));
    list.number(HMEG_FIELD(training));
    list.number(HMEG_FIELD(eps));
  }
};

struct RefineMasksBackward {
  const void *grad_masks, *masks, *boxes, *conv1_weight, *conv1_bias, *bn_weight, *bn_bias, *mean, *var, *conv2_weight,
      *conv2_bias;
  void *grad_boxes, *grad_conv1_weight, *grad_conv1_bias, *grad_bn_weight, *grad_bn_bias, *grad_conv2_weight,
      *grad_conv2_bias;
  int64_t symbols, channels, height, width, training;
  double eps;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(grad_masks), symbols * height * width);
    list.array(HMEG_FIELD(masks), symbols * height * width);
    list.array(HMEG_FIELD(boxes), 4 * symbols);
    list.array(HMEG_FIELD(conv1_weight), 36 * channels);
    list.array(HMEG_FIELD(conv1_bias), channels);
    list.array(HMEG_FIELD(bn_weight), channels);
    list.array(HMEG_FIELD(bn_bias), channels);
    list.array(HMEG_FIELD(mean), channels);
    list.array(HMEG_FIELD(var), channels);
    list.array(HMEG_FIELD(conv2_weight), 9 * channels);
    list.array(HMEG_FIELD(conv2_bias), 1);
    list.array(HMEG_FIELD(grad_boxes), 4 * symbols);
    list.array(HMEG_FIELD(grad_conv1_weight), 36 * channels);
    list.array(HMEG_FIELD(grad_conv1_bias), channels);
    list.array(HMEG_FIELD(grad_bn_weight), channels);
    list.array(HMEG_FIELD(grad_bn_bias), channels);
    list.array(HMEG_FIELD(grad_conv2_weight), 9 * channels);
    list.array(HMEG_FIELD(grad_conv2_bias), 1);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(height));
    list.number(HMEG_FIELD(width));
    list.number(HMEG_FIELD(training));
    list.number(HMEG_FIELD(eps));
  }
};

}  // namespace hmeg
