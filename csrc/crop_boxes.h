// crop_boxes: bilinear, zero-padded crops of boxes, each out of its own image. Sample (i, j) of a crop lies at
// x = x0 (1 - t) + x1 t, t = j / (w - 1), that is at pixel x W - 1/2, rows likewise; pixels outside the image are zero.
//
// Every function here returns nullptr, or a message that says what went wrong and lives until the thread's next call.
// images (N, C, H, W) is read in place: its strides are given, in elements. The other arrays are contiguous, all of one
// scalar type: boxes (V, 4), crops and grad_crops (V, C, h, w), grad_images (N, C, H, W), grad_boxes (V, 4).
// batch (V,) int64 in [0, N), in any order.
#pragma once

#include <cstdint>

namespace hmeg {

// Scalars of workspace that each thread of the CPU kernels needs for crops of h x w.
constexpr int64_t crop_boxes_scratch(int64_t crop_height, int64_t crop_width) {
  return 8 * crop_height + 13 * crop_width;
}

}  // namespace hmeg

extern "C" {

// (width - 1) * column_stride must be below 2^31. workspace: threads * crop_boxes_scratch(h, w) scalars.
const char* hmeg_cpu_crop_boxes_forward(int64_t dtype, const void* images, const void* boxes, const int64_t* batch,
                                        void* crops, void* workspace, int64_t symbols, int64_t graphs, int64_t channels,
                                        int64_t height, int64_t width, int64_t graph_stride, int64_t channel_stride,
                                        int64_t row_stride, int64_t column_stride, int64_t crop_height,
                                        int64_t crop_width, int64_t threads, int64_t variant);
// order: N + 1 + V int64 of workspace.
const char* hmeg_cpu_crop_boxes_backward(int64_t dtype, const void* grad_crops, const void* images, const void* boxes,
                                         const int64_t* batch, void* grad_images, void* grad_boxes, void* workspace,
                                         int64_t* order, int64_t symbols, int64_t graphs, int64_t channels,
                                         int64_t height, int64_t width, int64_t graph_stride, int64_t channel_stride,
                                         int64_t row_stride, int64_t column_stride, int64_t crop_height,
                                         int64_t crop_width, int64_t threads, int64_t variant);

// On a GPU images are contiguous. A symbol whose image does not exist gets no gradient, and its crop is not written.
const char* hmeg_cuda_crop_boxes_forward(int64_t dtype, const void* images, const void* boxes, const int64_t* batch,
                                         void* crops, int64_t symbols, int64_t graphs, int64_t channels, int64_t height,
                                         int64_t width, int64_t crop_height, int64_t crop_width, void* stream);
// order: V + N + 1 int64 of workspace.
const char* hmeg_cuda_crop_boxes_backward(int64_t dtype, const void* grad_crops, const void* images, const void* boxes,
                                          const int64_t* batch, void* grad_images, void* grad_boxes, int64_t* order,
                                          int64_t symbols, int64_t graphs, int64_t channels, int64_t height,
                                          int64_t width, int64_t crop_height, int64_t crop_width, void* stream);
}
