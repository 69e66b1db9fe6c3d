// box_soft_mask: the fixed soft indicator of a box, r(t) r(u) with r(t) = clamp(min(8 t + 1/2, 17/2 - 8 t), 0, 1).
// boxes (V, 4), masks and grad_masks (V, H, W), grad_boxes (V, 4).
#pragma once

#include "parameters.h"

namespace hmeg {

// A side shorter than this (in units of the image) encloses nothing: mask and gradient are 0.
constexpr double kBoxSoftMaskMinSide = 1e-6;

struct BoxSoftMaskForward {
  const void* boxes;
  void* masks;
  int64_t symbols, height, width;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(boxes), 4 * symbols);
    list.array(HMEG_FIELD(masks), symbols * height * width);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(height));
    list.number(HMEG_FIELD(width));
  }
};

struct BoxSoftMaskBackward {
  const void *grad_masks, *boxes;
  void* grad_boxes;
  int64_t symbols, height, width;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(grad_masks), symbols * height * width);
    list.array(HMEG_FIELD(boxes), 4 * symbols);
    list.array(HMEG_FIELD(grad_boxes), 4 * symbols);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(height));
    list.number(HMEG_FIELD(width));
  }
};

}  // namespace hmeg
