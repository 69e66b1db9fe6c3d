// compose_layout: layout[n, c, p] = sum over the symbols v of expression n of masks[v, p] * features[v, c].
//
// Every function here returns nullptr, or a message that says what went wrong and lives until the thread's next call.
// Arrays are contiguous and of one scalar type: masks (V, P), features (V, C), layout (N, C, P), their gradients alike.
// batch (V,) is int64, non-decreasing, in [0, N): an expression's symbols are neighbours.
#pragma once

#include <cstdint>

extern "C" {

const char* hmeg_cpu_compose_layout_forward(int64_t dtype, const void* masks, const void* features,
                                            const int64_t* batch, void* layout, int64_t symbols, int64_t graphs,
                                            int64_t channels, int64_t pixels, int64_t threads, int64_t variant);
const char* hmeg_cpu_compose_layout_backward(int64_t dtype, const void* grad_layout, const void* masks,
                                             const void* features, const int64_t* batch, void* grad_masks,
                                             void* grad_features, int64_t symbols, int64_t graphs, int64_t channels,
                                             int64_t pixels, int64_t threads, int64_t variant);

// On a GPU nothing can tell of a batch that is not as promised without waiting for it: such symbols are left out of the
// layout, and their gradients are not written.
const char* hmeg_cuda_compose_layout_forward(int64_t dtype, const void* masks, const void* features,
                                             const int64_t* batch, void* layout, int64_t symbols, int64_t graphs,
                                             int64_t channels, int64_t pixels, void* stream);
const char* hmeg_cuda_compose_layout_backward(int64_t dtype, const void* grad_layout, const void* masks,
                                              const void* features, const int64_t* batch, void* grad_masks,
                                              void* grad_features, int64_t symbols, int64_t graphs, int64_t channels,
                                              int64_t pixels, void* stream);
}
