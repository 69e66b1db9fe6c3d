// Fills the tables that refine_masks' loops read (cpu/simd/mask_tables.h says what they hold).
#pragma once

#include <vector>

#include "cpu/simd/mask_tables.h"
#include "workspace.h"

namespace hmeg::cpu {

template <typename T>
struct MaskWeights {
  const T *conv1_weight, *conv1_bias, *bn_weight, *bn_bias, *conv2_weight, *conv2_bias;
};

template <typename T>
MaskWeights<T> mask_weights(const void* conv1_weight, const void* conv1_bias, const void* bn_weight,
                            const void* bn_bias, const void* conv2_weight, const void* conv2_bias) {
  return {static_cast<const T*>(conv1_weight), static_cast<const T*>(conv1_bias),   static_cast<const T*>(bn_weight),
          static_cast<const T*>(bn_bias),      static_cast<const T*>(conv2_weight), static_cast<const T*>(conv2_bias)};
}

// BatchNorm as y = scale r + shift, from mean and (biased or running) variance.
struct BatchNorm {
  std::vector<double> inverse_deviation, scale, shift;
};
template <typename T>
BatchNorm batch_norm(const MaskWeights<T>& weights, const T* mean, const T* var, int64_t channels, double eps);

// Tables with their memory; the members are not filled yet.
template <typename T>
MaskTables<T> mask_tables(Workspace& workspace, int64_t channels, int64_t height, int64_t width);

// affine and crossing: what the hidden values depend on.
template <typename T>
void fill_lines(MaskTables<T>& tables, const MaskWeights<T>& weights);

// weights: conv2's, times `scale` by channel.
template <typename T>
void fill_weights(MaskTables<T>& tables, const MaskWeights<T>& weights, const std::vector<double>& scale);

// updates, spread and levels: what masks are made from; after fill_lines.
template <typename T>
void fill_updates(MaskTables<T>& tables, const MaskWeights<T>& weights, const BatchNorm& norm);

}  // namespace hmeg::cpu
