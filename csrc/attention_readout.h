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
}
