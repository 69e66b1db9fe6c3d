// refine_layout: layout[n, c, p] = sum over the symbols v of expression n of masks[v, p] * features[v, c], the masks
// those of refine_masks in evaluation mode, used as they are made.
//
// Every function here returns nullptr, or a message that says what went wrong and lives until the thread's next call.
// Arrays are contiguous and of one scalar type: features (V, C), layout (N, C, H, W), the others as in refine_masks.h.
// batch (V,) is int64, non-decreasing, in [0, N): an expression's symbols are neighbours.
#pragma once

#include <cstdint>

extern "C" {

// Bytes of workspace that the function below needs.
int64_t hmeg_cpu_refine_layout_workspace(int64_t dtype, int64_t hidden, int64_t width, int64_t threads);

const char* hmeg_cpu_refine_layout(int64_t dtype, const void* boxes, const void* conv1_weight, const void* conv1_bias,
                                   const void* bn_weight, const void* bn_bias, const void* mean, const void* var,
                                   const void* conv2_weight, const void* conv2_bias, const void* features,
                                   const int64_t* batch, void* layout, void* workspace, int64_t symbols, int64_t graphs,
                                   int64_t hidden, int64_t channels, int64_t height, int64_t width, double eps,
                                   int64_t threads, int64_t variant);

// To `size`: scalars of workspace in accumulation precision (float64 for float64, else float32) for the function below.
const char* hmeg_cuda_refine_layout_workspace(int64_t hidden, int64_t* size);

const char* hmeg_cuda_refine_layout(int64_t dtype, const void* boxes, const void* conv1_weight, const void* conv1_bias,
                                    const void* bn_weight, const void* bn_bias, const void* mean, const void* var,
                                    const void* conv2_weight, const void* conv2_bias, const void* features,
                                    const int64_t* batch, void* layout, void* workspace, int64_t symbols,
                                    int64_t graphs, int64_t hidden, int64_t channels, int64_t height, int64_t width,
                                    double eps, void* stream);
}
