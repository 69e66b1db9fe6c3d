// What refine_masks' second half needs of its weights: the second convolution with the batch norm folded into it.
// y = s relu(z) + t, s = bn_weight / sqrt(var + eps), t = bn_bias - mean s; y is padded with zeros after the norm, so
// the share of t in a logit depends on the pixel's class and is a constant of it.
#pragma once

#include "device.h"
#include "ramp_convolution.h"

namespace hmeg {

// A channel's folded taps s w2[tap], padded to whole packs.
constexpr int kFoldedTaps = 12;

template <typename T>
struct MaskParameters {
  const T *conv1_weight, *conv1_bias, *bn_weight, *bn_bias, *conv2_weight, *conv2_bias;
  int64_t channels, height, width;
  Accumulator<T> eps;
};

// Where a refinement's prepared weights lie in its workspace.
template <typename A>
struct PreparedWeights {
  A* table;      // (kClasses, kPlaneNumbers, K), see ramp_convolution.h
  A* folded;     // (K, kFoldedTaps)
  A* constants;  // (kClasses): conv2's bias and the share of t

  PreparedWeights(A* workspace, int64_t channels)
      : table(workspace),
        folded(table + kClasses * kPlaneNumbers * channels),
        constants(folded + kFoldedTaps * channels) {}
  static int64_t size(int64_t channels) { return (kClasses * kPlaneNumbers + kFoldedTaps) * channels + kClasses + 3; }
};

// One block. M is the type of the statistics: T's where they are the caller's, Accumulator<T> where they were just
// made.
template <typename T, typename M, int kBlock>
HMEG_KERNEL prepare_weights(MaskParameters<T> given, const M* mean, const M* var,
                            PreparedWeights<Accumulator<T>> prepared, bool with_table, bool with_folded) {
  using A = Accumulator<T>;
  if (with_table) {
    for (int64_t item = thread_index(); item < kClasses * given.channels; item += kBlock) {
      tabulate_plane<T>(given.conv1_weight, given.conv1_bias, prepared.table, static_cast<int>(item / given.channels),
                        item % given.channels, given.channels, given.height, given.width);
    }
  }
  if (!with_folded) return;
  A shares[kTaps] = {};
  for (int64_t channel = thread_index(); channel < given.channels; channel += kBlock) {
    const A scale = widen(given.bn_weight[channel]) / square_root(A(widen(var[channel])) + given.eps);
    const A shift = widen(given.bn_bias[channel]) - A(widen(mean[channel])) * scale;
    HMEG_UNROLL
    for (int tap = 0; tap < kFoldedTaps; ++tap) {
      const A weight = tap < kTaps ? A(widen(given.conv2_weight[channel * kTaps + tap])) : A(0);
      prepared.folded[channel * kFoldedTaps + tap] = scale * weight;
      if (tap < kTaps) shares[tap] += shift * weight;
    }
  }
  block_sum<kBlock>(shares);
  if (thread_index() < kClasses) {
    A constant = widen(given.conv2_bias[0]);
    HMEG_UNROLL
    for (int tap = 0; tap < kTaps; ++tap) {
      if (has_neighbour(thread_index(), tap / 3 - 1, tap % 3 - 1, given.height, given.width)) constant += shares[tap];
    }
    prepared.constants[thread_index()] = constant;
  }
}

}  // namespace hmeg
