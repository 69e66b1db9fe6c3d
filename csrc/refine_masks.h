// refine_masks: the learned soft mask of a box. Four coordinate ramps through a 3x3 convolution to K channels, ReLU,
// BatchNorm, a 3x3 convolution to one, and a sigmoid.
//
// Every function here returns nullptr, or a message that says what went wrong and lives until the thread's next call.
// Arrays are contiguous and of one scalar type: boxes (V, 4), conv1_weight (K, 4, 3, 3), conv2_weight (1, K, 3, 3),
// conv2_bias (1,), all other weights and the statistics (K,), masks and grad_masks (V, H, W). Gradients have the shape
// of what they belong to. In training mode (V at least 1) the forward pass writes the batch's mean and biased variance
// to `mean` and `var`; otherwise it reads the running statistics there.
#pragma once

#include <cstdint>

extern "C" {

// Bytes of workspace that each function below needs.
int64_t hmeg_cpu_refine_masks_forward_workspace(int64_t dtype, int64_t symbols, int64_t channels, int64_t width,
                                                int64_t training, int64_t threads);
int64_t hmeg_cpu_refine_masks_backward_workspace(int64_t dtype, int64_t symbols, int64_t channels, int64_t height,
                                                 int64_t width, int64_t training, int64_t threads);

const char* hmeg_cpu_refine_masks_forward(int64_t dtype, const void* boxes, const void* conv1_weight,
                                          const void* conv1_bias, const void* bn_weight, const void* bn_bias,
                                          void* mean, void* var, const void* conv2_weight, const void* conv2_bias,
                                          void* masks, void* workspace, int64_t symbols, int64_t channels,
                                          int64_t height, int64_t width, int64_t training, double eps, int64_t threads,
                                          int64_t variant);
const char* hmeg_cpu_refine_masks_backward(int64_t dtype, const void* grad_masks, const void* masks, const void* boxes,
                                           const void* conv1_weight, const void* conv1_bias, const void* bn_weight,
                                           const void* bn_bias, const void* mean, const void* var,
                                           const void* conv2_weight, const void* conv2_bias, void* grad_boxes,
                                           void* grad_conv1_weight, void* grad_conv1_bias, void* grad_bn_weight,
                                           void* grad_bn_bias, void* grad_conv2_weight, void* grad_conv2_bias,
                                           void* workspace, int64_t symbols, int64_t channels, int64_t height,
                                           int64_t width, int64_t training, double eps, int64_t threads,
                                           int64_t variant);

// Scalars of workspace in accumulation precision (float64 for float64, else float32) that the functions below need:
// sizes[0] forward, sizes[1] backward.
const char* hmeg_cuda_refine_masks_workspace(int64_t dtype, int64_t symbols, int64_t channels, int64_t height,
                                             int64_t width, int64_t training, int64_t* sizes);
const char* hmeg_cuda_refine_masks_forward(int64_t dtype, const void* boxes, const void* conv1_weight,
                                           const void* conv1_bias, const void* bn_weight, const void* bn_bias,
                                           void* mean, void* var, const void* conv2_weight, const void* conv2_bias,
                                           void* masks, void* workspace, int64_t symbols, int64_t channels,
                                           int64_t height, int64_t width, int64_t training, double eps, void* stream);
const char* hmeg_cuda_refine_masks_backward(int64_t dtype, const void* grad_masks, const void* masks, const void* boxes,
                                            const void* conv1_weight, const void* conv1_bias, const void* bn_weight,
                                            const void* bn_bias, const void* mean, const void* var,
                                            const void* conv2_weight, const void* conv2_bias, void* grad_boxes,
                                            void* grad_conv1_weight, void* grad_conv1_bias, void* grad_bn_weight,
                                            void* grad_bn_bias, void* grad_conv2_weight, void* grad_conv2_bias,
                                            void* workspace, int64_t symbols, int64_t channels, int64_t height,
                                            int64_t width, int64_t training, double eps, void* stream);
}
