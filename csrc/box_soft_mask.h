// box_soft_mask: the fixed soft indicator of a box, r(t) r(u) with r(t) = clamp(min(8 t + 1/2, 17/2 - 8 t), 0, 1).
//
// Every function here returns nullptr, or a message that says what went wrong and lives until the thread's next call.
// Arrays are contiguous. boxes (V, 4), masks and grad_masks (V, H, W), grad_boxes (V, 4), all of one scalar type.
#pragma once

#include <cstdint>

namespace hmeg {

// A side shorter than this (in units of the image) encloses nothing: mask and gradient are 0.
constexpr double kBoxSoftMaskMinSide = 1e-6;

// Rows of one tile of the CUDA kernels; the backward pass needs a workspace of (V, tiles, 4) in accumulation precision
// (float64 for float64, float32 otherwise), tiles = ceil(H / kBoxSoftMaskTileRows).
constexpr int64_t kBoxSoftMaskTileRows = 64;

}  // namespace hmeg

extern "C" {

const char* hmeg_cpu_box_soft_mask_forward(int64_t dtype, const void* boxes, void* masks, int64_t symbols,
                                           int64_t height, int64_t width, int64_t threads, int64_t variant);
const char* hmeg_cpu_box_soft_mask_backward(int64_t dtype, const void* grad_masks, const void* boxes, void* grad_boxes,
                                            int64_t symbols, int64_t height, int64_t width, int64_t threads,
                                            int64_t variant);

const char* hmeg_cuda_box_soft_mask_forward(int64_t dtype, const void* boxes, void* masks, int64_t symbols,
                                            int64_t height, int64_t width, void* stream);
const char* hmeg_cuda_box_soft_mask_backward(int64_t dtype, const void* grad_masks, const void* boxes, void* grad_boxes,
                                             void* workspace, int64_t symbols, int64_t height, int64_t width,
                                             void* stream);
}
