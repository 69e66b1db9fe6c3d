// crop_boxes: bilinear, zero-padded crops of boxes, each out of its own image. Sample (i, j) of a crop lies at
// x = x0 (1 - t) + x1 t, t = j / (w - 1), that is at pixel x W - 1/2, rows likewise; pixels outside the image are zero.
//
// images (N, C, H, W) is read in place: its strides are given, in elements, and (width - 1) * column_stride must be
// below 2^31; on a GPU it must be contiguous. boxes (V, 4), crops and grad_crops (V, C, h, w), grad_images (N, C, H,
// W), grad_boxes (V, 4); batch (V,) in [0, N), in any order. On a GPU a symbol whose image does not exist gets no
// gradient, and its crop is not written.
#pragma once

#include "parameters.h"

namespace hmeg {

// Items from the first of strided images to their last.
template <typename P>
int64_t reached(const P& given) {
  if (given.graphs * given.channels * given.height * given.width == 0) return 0;
  return (given.graphs - 1) * given.graph_stride + (given.channels - 1) * given.channel_stride +
         (given.height - 1) * given.row_stride + (given.width - 1) * given.column_stride + 1;
}

struct CropBoxesForward {
  const void *images, *boxes;
  const int64_t* batch;
  void* crops;
  int64_t symbols, graphs, channels, height, width, graph_stride, channel_stride, row_stride, column_stride,
      crop_height, crop_width;

  template <typename List>
  void fields(List& list) {
    list.strided(HMEG_FIELD(images), reached(*this));
    list.array(HMEG_FIELD(boxes), 4 * symbols);
    list.array(HMEG_FIELD(batch), symbols);
    list.array(HMEG_FIELD(crops), symbols * channels * crop_height * crop_width);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(graphs));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(height));
    list.number(HMEG_FIELD(width));
    list.number(HMEG_FIELD(graph_stride));
    list.number(HMEG_FIELD(channel_stride));
    list.number(HMEG_FIELD(row_stride));
    list.number(HMEG_FIELD(column_stride));
    list.number(HMEG_FIELD(crop_height));
    list.number(HMEG_FIELD(crop_width));
  }
};

struct CropBoxesBackward {
  const void *grad_crops, *images, *boxes;
  const int64_t* batch;
  void *grad_images, *grad_boxes;
  int64_t symbols, graphs, channels, height, width, graph_stride, channel_stride, row_stride, column_stride,
      crop_height, crop_width;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(grad_crops), symbols * channels * crop_height * crop_width);
    list.strided(HMEG_FIELD(images), reached(*this));
    list.array(HMEG_FIELD(boxes), 4 * symbols);
    list.array(HMEG_FIELD(batch), symbols);
    list.array(HMEG_FIELD(grad_images), graphs * channels * height * width);
    list.array(HMEG_FIELD(grad_boxes), 4 * symbols);
    list.number(HMEG_FIELD(symbols));
    list.number(HMEG_FIELD(graphs));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(height));
    list.number(HMEG_FIELD(width));
    list.number(HMEG_FIELD(graph_stride));
    list.number(HMEG_FIELD(channel_stride));
    list.number(HMEG_FIELD(row_stride));
    list.number(HMEG_FIELD(column_stride));
    list.number(HMEG_FIELD(crop_height));
    list.number(HMEG_FIELD(crop_width));
  }
};

}  // namespace hmeg
