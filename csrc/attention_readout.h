// attention_readout: c_n = tanh(mean over the symbols of expression n of x_v W), g_n = sum of sigmoid(x_v . c_n) x_v.
//
// Every function here returns nullptr, or a message that says what went wrong and lives until the thread's next call.
// Arrays are contiguous and of one scalar type: x (V, C), weight (C, C) = W, g (N, C), gradients alike; means and
// grad_contexts (N, C) are scratch. batch (V,) is int64, non-decreasing, in [0, N).
#pragma once

#include <cstdint>

extern "C" {

const char* hmeg_cpu_attention_readout_forward(int64_t dtype, const void* x, const void* weight, const int64_t* batch,
                                               void* g, int64_t symbols, int64_t graphs, int64_t channels,
                                               int64_t threads, int64_t variant);
const char* hmeg_cpu_attention_readout_backward(int64_t dtype, const void* grad, const void* x, const void* weight,
                                                const int64_t* batch, void* means, void* grad_contexts, void* grad_x,
                                                void* grad_weight, int64_t symbols, int64_t graphs, int64_t channels,
                                                int64_t threads, int64_t variant);

// A block an expression. Scratch and results in accumulation precision: means, contexts, grad_products and grad_means
// (N, C), scores and pulls (V,). The gradient of weight is means^T @ grad_products.
const char* hmeg_cuda_attention_readout_forward(int64_t dtype, const void* x, const void* weight, const int64_t* batch,
                                                void* out, void* means, void* contexts, void* scores, int64_t symbols,
                                                int64_t graphs, int64_t channels, void* stream);
const char* hmeg_cuda_attention_readout_backward(int64_t dtype, const void* grad, const void* x, const void* weight,
                                                 const int64_t* batch, void* grad_x, void* means, void* grad_products,
                                                 void* contexts, void* grad_means, void* scores, void* pulls,
                                                 int64_t symbols, int64_t graphs, int64_t channels, void* stream);
}
