// box_layout: layout[n, c, i, j] = sum over the symbols v of expression n of mask_v[i, j] * features[v, c], mask_v
// being the soft mask of box v (box_soft_mask.h). A mask is the product of a ramp down and a ramp across and is never
// stored.
//
// Every function here returns nullptr, or a message that says what went wrong and lives until the thread's next call.
// Arrays are contiguous and of one scalar type: features (V, C), boxes (V, 4), layout (N, C, H, W), their gradients
// alike. batch (V,) is int64, non-decreasing, in [0, N): an expression's symbols are neighbours.
#pragma once

#include <cstdint>

namespace hmeg {

// Scalars of workspace of the CPU kernels: the forward pass keeps every symbol's ramps and where they are not zero, the
// backward pass needs room for one symbol a thread.
constexpr int64_t box_layout_forward_workspace(int64_t symbols, int64_t height, int64_t width) {
  return symbols * (height + width + 4);
}
constexpr int64_t box_layout_backward_scratch(int64_t height, int64_t width) {
  return 3 * (height + width) + (height + 5) * (width + 16);
}

// Channels of one block of the CUDA kernel's backward pass.
constexpr int64_t kBoxLayoutBlockChannels = 32;

}  // namespace hmeg

extern "C" {

const char* hmeg_cpu_box_layout_forward(int64_t dtype, const void* features, const void* boxes, const int64_t* batch,
                                        void* layout, void* workspace, int64_t symbols, int64_t graphs,
                                        int64_t channels, int64_t height, int64_t width, int64_t threads,
                                        int64_t variant);
// workspace: threads * box_layout_backward_scratch(H, W) scalars.
const char* hmeg_cpu_box_layout_backward(int64_t dtype, const void* grad_layout, const void* features,
                                         const void* boxes, const int64_t* batch, void* grad_features, void* grad_boxes,
                                         void* workspace, int64_t symbols, int64_t graphs, int64_t channels,
                                         int64_t height, int64_t width, int64_t threads, int64_t variant);

// On a GPU a symbol whose batch is not in [0, N) is left out, and its gradients are zero.
const char* hmeg_cuda_box_layout_forward(int64_t dtype, const void* features, const void* boxes, const int64_t* batch,
                                         void* layout, int64_t symbols, int64_t graphs, int64_t channels,
                                         int64_t height, int64_t width, void* stream);
// workspace: 4 V ceil(C / kBoxLayoutBlockChannels) scalars in accumulation precision.
const char* hmeg_cuda_box_layout_backward(int64_t dtype, const void* grad_layout, const void* features,
                                          const void* boxes, const int64_t* batch, void* grad_features,
                                          void* grad_boxes, void* workspace, int64_t symbols, int64_t graphs,
                                          int64_t channels, int64_t height, int64_t width, void* stream);
}
