// Single-threaded parts of crop_boxes, declared once per instruction set.
#pragma once

#include "cpu/simd/variant.h"

namespace hmeg {

constexpr int64_t kCropBlockRows = 32;  // rows of an image whose gradient one owner gathers

// Sizes, and the images' strides, all in elements.
struct CropSizes {
  int64_t channels, height, width;
  int64_t graph_stride, channel_stride, row_stride, column_stride;
  int64_t crop_height, crop_width;
};

}  // namespace hmeg

// Every function needs crop_boxes_scratch(...) scalars of scratch.
#define HMEG_DECLARE_CROP_BOXES(T)                                                                                     \
  /* crops of symbols [begin, end) */                                                                                  \
  void crop_boxes_forward(const T* images, const T* boxes, const int64_t* batch, T* crops, int64_t begin, int64_t end, \
                          const CropSizes& sizes, T* scratch);                                                         \
  /* grad_boxes of symbols [begin, end) */                                                                             \
  void crop_boxes_backward_boxes(const T* grad_crops, const T* images, const T* boxes, const int64_t* batch,           \
                                 T* grad_boxes, int64_t begin, int64_t end, const CropSizes& sizes, T* scratch);       \
  /* grad_images of image `graph`, rows [row, row + kCropBlockRows) as far as there are, from the crops of the */      \
  /* `count` symbols in `members`, added in that order */                                                              \
  void crop_boxes_backward_images(const T* grad_crops, const T* boxes, const int64_t* members, int64_t count,          \
                                  T* grad_images, int64_t graph, int64_t row, const CropSizes& sizes, T* scratch);

HMEG_DECLARE_VARIANTS(HMEG_DECLARE_CROP_BOXES)
