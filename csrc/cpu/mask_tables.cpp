#include "cpu/mask_tables.h"

#include <algorithm>
#include <cmath>

#include "cpu/simd/grid_points.h"

namespace hmeg::cpu {
namespace {

// A slope below this counts as none: its inverse is still an ordinary number in float32.
constexpr double kFlat = 1e-30;

bool has(int pixel_class, int tap) {
  return mask_neighbour(pixel_class / kMaskSides, tap / 3 - 1) && mask_neighbour(pixel_class % kMaskSides, tap % 3 - 1);
}

}  // namespace

template <typename T>
BatchNorm batch_norm(const MaskWeights<T>& weights, const T* mean, const T* var, int64_t channels, double eps) {
  BatchNorm norm;
  for (int64_t k = 0; k < channels; ++k) {
    norm.inverse_deviation.push_back(1.0 / std::sqrt(double(var[k]) + eps));
    norm.scale.push_back(weights.bn_weight[k] * norm.inverse_deviation[k]);
    norm.shift.push_back(weights.bn_bias[k] - mean[k] * norm.scale[k]);
  }
  return norm;
}

template <typename T>
MaskTables<T> mask_tables(Workspace& workspace, int64_t channels, int64_t height, int64_t width) {
  MaskTables<T> tables;
  tables.channels = channels;
  tables.padded = (channels + kMaskLanes - 1) / kMaskLanes * kMaskLanes;
  tables.height = height;
  tables.width = width;
  tables.affine = workspace.take<T>(int64_t(kMaskClasses) * kMaskAffines * tables.padded);
  tables.crossing = workspace.take<T>(int64_t(kMaskSides) * kMaskCrossings * tables.padded);
  tables.updates = workspace.take<T>(kMaskSides * tables.padded * 2 * kMaskUpdate);
  tables.spread = workspace.take<T>(tables.padded * kMaskUpdate);
  tables.weights = workspace.take<T>(9 * tables.padded);
  return tables;
}

template <typename T>
void fill_lines(MaskTables<T>& tables, const MaskWeights<T>& weights) {
  const int64_t padded = tables.padded;
  const double across = grid_step<double>(tables.width), down = grid_step<double>(tables.height);
  std::fill_n(tables.affine, int64_t(kMaskClasses) * kMaskAffines * padded, T(0));
  std::fill_n(tables.crossing, int64_t(kMaskSides) * kMaskCrossings * padded, T(0));
  for (int c = 0; c < kMaskClasses; ++c) {
    T* const affine = tables.affine + int64_t(c) * kMaskAffines * padded;
    for (int64_t k = 0; k < tables.channels; ++k) {
      double base = weights.conv1_bias[k], slopes[2] = {}, by_box[4] = {};
      for (int input = 0; input < 4; ++input) {
        for (int tap = 0; tap < 9; ++tap) {
          if (!has(c, tap)) continue;
          const double weight = weights.conv1_weight[(k * 4 + input) * 9 + tap];
          const bool is_y = input % 2 == 1;
          slopes[is_y] += 2 * weight;
          by_box[input] += 2 * weight;
          base += weight * (is_y ? 2 * down * (tap / 3 - 1) - 1 : 2 * across * (tap % 3 - 1) - 1);
        }
      }
      affine[kBase * padded + k] = T(base);
      affine[kSlopeX * padded + k] = T(slopes[0]);
      affine[kSlopeY * padded + k] = T(slopes[1]);
      for (int input = 0; input < 4; ++input) affine[(kBoxWeight + input) * padded + k] = T(by_box[input]);
    }
  }
  for (int c = 0; c < kMaskSides; ++c) {
    const T* const slope_x = tables.affine + (int64_t(c) * kMaskSides * kMaskAffines + kSlopeX) * padded;
    T* const crossing = tables.crossing + int64_t(c) * kMaskCrossings * padded;
    for (int64_t k = 0; k < tables.channels; ++k) {
      const double step = slope_x[k] * across;
      const bool flat = std::abs(step) < kFlat;
      crossing[kStep * padded + k] = flat ? T(0) : T(step);
      // A flat line that is positive counts as positive after column 0, any other as positive after the last one.
      crossing[kInverse * padded + k] = T(flat ? -1 / kFlat : -1 / step);
      crossing[kShift * padded + k] = T(flat ? double(tables.width) : 0.0);
      crossing[kSign * padded + k] = T(step < 0 && !flat ? 1 : -1);
    }
  }
}

template <typename T>
void fill_weights(MaskTables<T>& tables, const MaskWeights<T>& weights, const std::vector<double>& scale) {
  std::fill_n(tables.weights, 9 * tables.padded, T(0));
  for (int64_t k = 0; k < tables.channels; ++k) {
    for (int tap = 0; tap < 9; ++tap) {
      tables.weights[tap * tables.padded + k] = T(weights.conv2_weight[k * 9 + tap] * scale[k]);
    }
  }
}

template <typename T>
void fill_updates(MaskTables<T>& tables, const MaskWeights<T>& weights, const BatchNorm& norm) {
  const int64_t padded = tables.padded;
  fill_weights(tables, weights, norm.scale);
  std::fill_n(tables.updates, kMaskSides * padded * 2 * kMaskUpdate, T(0));
  std::fill_n(tables.spread, padded * kMaskUpdate, T(0));
  double shifts[9] = {};
  for (int64_t k = 0; k < tables.channels; ++k) {
    for (int tap = 0; tap < 9; ++tap) {
      const double weight = weights.conv2_weight[k * 9 + tap] * norm.scale[k];
      const int dj = tap % 3 - 1;
      const int64_t slope_lane = 8 * (1 - dj) + tap / 3, intercept_lane = slope_lane + 4;
      shifts[tap] += weights.conv2_weight[k * 9 + tap] * norm.shift[k];
      tables.spread[k * kMaskUpdate + intercept_lane] = T(weight);
      for (int c = 0; c < kMaskSides; ++c) {
        const T* const crossing = tables.crossing + int64_t(c) * kMaskCrossings * padded;
        T* const update = tables.updates + (c * padded + k) * 2 * kMaskUpdate;
        const double step = crossing[kStep * padded + k], sign = -crossing[kSign * padded + k];
        update[slope_lane] = T(sign * weight * step);
        update[intercept_lane] = T(sign * weight * step * dj);
        update[kMaskUpdate + intercept_lane] = T(sign * weight);
      }
    }
  }
  for (int c = 0; c < kMaskClasses; ++c) {
    double level = weights.conv2_bias[0];
    for (int tap = 0; tap < 9; ++tap) level += has(c, tap) ? shifts[tap] : 0.0;
    tables.levels[c] = T(level);
  }
}

#define HMEG_MASK_TABLES(T)                                                                         \
  template BatchNorm batch_norm<T>(const MaskWeights<T>&, const T*, const T*, int64_t, double);     \
  template MaskTables<T> mask_tables<T>(Workspace&, int64_t, int64_t, int64_t);                     \
  template void fill_lines<T>(MaskTables<T>&, const MaskWeights<T>&);                               \
  template void fill_weights<T>(MaskTables<T>&, const MaskWeights<T>&, const std::vector<double>&); \
  template void fill_updates<T>(MaskTables<T>&, const MaskWeights<T>&, const BatchNorm&);

HMEG_MASK_TABLES(float)
HMEG_MASK_TABLES(double)

}  // namespace hmeg::cpu
