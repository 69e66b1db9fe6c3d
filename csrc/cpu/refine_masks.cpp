// refine_masks on the CPU: symbols shared out among threads. Sums over symbols are made by groups of symbols that do
// not depend on the number of threads, and added in the groups' order.
#include "refine_masks.h"

#include <algorithm>
#include <vector>

#include "cpu/call.h"
#include "cpu/mask_tables.h"
#include "cpu/parallel.h"
#include "cpu/simd/refine_masks_simd.h"
#include "cpu/variants.h"
#include "entry.h"

namespace hmeg::cpu {
namespace {

constexpr int64_t kGroups = 64;       // at most, of the symbols
constexpr int64_t kGroupSymbols = 2;  // at least, in a group

struct Groups {
  int64_t size, count;
  explicit Groups(int64_t symbols) : size((symbols + kGroups - 1) / kGroups) {
    size = size < kGroupSymbols ? kGroupSymbols : size;
    count = (symbols + size - 1) / size;
  }
};

template <typename T>
struct ForwardPlan {
  MaskTables<T> tables;
  T* rows;  // a thread's scratch
  int64_t row_scalars;
  double* sums;     // (groups, 2, padded)
  double* about;    // (padded,)
  double* offsets;  // (threads, kMaskClasses, padded)

  ForwardPlan(Workspace& workspace, int64_t symbols, int64_t channels, int64_t height, int64_t width, bool training,
              int64_t threads)
      : tables(mask_tables<T>(workspace, channels, height, width)) {
    row_scalars = mask_forward_scratch(tables.padded, width);
    rows = workspace.take<T>(threads * row_scalars);
    sums = workspace.take<double>(training ? Groups(symbols).count * 2 * tables.padded : 0);
    about = workspace.take<double>(training ? tables.padded : 0);
    offsets = workspace.take<double>(training ? threads * kMaskClasses * tables.padded : 0);
  }
};

// The batch's mean and biased variance of relu(z), from sums about the first symbol's mean: that keeps the variance's
// digits where it is much smaller than the mean.
template <typename T>
void batch_statistics(const ForwardPlan<T>& plan, const T* boxes, int64_t symbols, T* mean, T* var, int64_t threads,
                      Variant variant) {
  const Groups groups(symbols);
  const MaskTables<T>& tables = plan.tables;
  const int64_t padded = tables.padded;
  const double pixels = double(tables.height) * double(tables.width), values = double(symbols) * pixels;
  std::fill_n(plan.about, padded, 0.0);
  HMEG_VARIANT_CALL(variant, refine_masks_statistics, tables, boxes, plan.about, plan.sums, 0, 1, plan.offsets);
  for (int64_t k = 0; k < padded; ++k) plan.about[k] = plan.sums[k] / pixels;
  parallel_for(groups.count, 1, threads, [&](int64_t begin, int64_t end, int64_t worker) {
    for (int64_t group = begin; group < end; ++group) {
      const int64_t first = group * groups.size, last = std::min(first + groups.size, symbols);
      HMEG_VARIANT_CALL(variant, refine_masks_statistics, tables, boxes, plan.about, plan.sums + group * 2 * padded,
                        first, last, plan.offsets + worker * kMaskClasses * padded);
    }
  });
  for (int64_t k = 0; k < tables.channels; ++k) {
    double sum = 0, squares = 0;
    for (int64_t group = 0; group < groups.count; ++group) {
      sum += plan.sums[group * 2 * padded + k];
      squares += plan.sums[(group * 2 + 1) * padded + k];
    }
    const double average = sum / values, spread = squares / values - average * average;
    mean[k] = T(plan.about[k] + average);
    var[k] = T(spread < 0 ? 0 : spread);
  }
}

template <typename T>
struct BackwardPlan {
  MaskTables<T> tables;
  int64_t quantities;
  T* scratch;
  int64_t scratch_scalars;
  T* by_box;     // (V, quantities, 4, padded)
  double* sums;  // (groups, group_sums)
  int64_t group_sums;

  BackwardPlan(Workspace& workspace, int64_t symbols, int64_t channels, int64_t height, int64_t width, bool training,
               int64_t threads)
      : tables(mask_tables<T>(workspace, channels, height, width)), quantities(training ? kMaskQuantities : 1) {
    scratch_scalars = mask_backward_scratch(tables.padded, height, width, quantities);
    scratch = workspace.take<T>(threads * scratch_scalars);
    by_box = workspace.take<T>(symbols * quantities * 4 * tables.padded);
    group_sums = mask_group_sums(tables.padded, quantities);
    sums = workspace.take<double>(Groups(symbols).count * group_sums);
  }
};

template <typename T>
struct MaskGradients {
  T *boxes, *conv1_weight, *conv1_bias, *bn_weight, *bn_bias, *conv2_weight, *conv2_bias;
};

// The gradient that reaches a channel's active relu(z) is scale (g - constant - slope relu(z)), g what comes through
// conv2; constant and slope are BatchNorm's own part, 0 in evaluation mode.
struct Channel {
  double scale, constant, slope;
};

// Weight gradients of one channel from the sums over all symbols, as `sums` of a group holds them.
template <typename T>
Channel channel_gradients(const MaskTables<T>& tables, const MaskWeights<T>& weights, const BatchNorm& norm,
                          const double* sums, double mean, double values, int64_t quantities, int64_t k,
                          const MaskGradients<T>& out) {
  const double* const of_taps = sums + mask_group_sums(tables.padded, quantities) - 9;
  double bn_bias = 0, products = 0;
  for (int tap = 0; tap < 9; ++tap) {
    const double weight = weights.conv2_weight[k * 9 + tap], product = sums[tap * tables.padded + k];
    bn_bias += weight * of_taps[tap];
    products += weight * product;
    out.conv2_weight[k * 9 + tap] = T(norm.scale[k] * product + norm.shift[k] * of_taps[tap]);
  }
  const double deviation = norm.inverse_deviation[k], bn_weight = deviation * (products - mean * bn_bias);
  out.bn_weight[k] = T(bn_weight);
  out.bn_bias[k] = T(bn_bias);
  Channel channel = {norm.scale[k], 0, 0};
  if (quantities > 1) {
    channel.slope = deviation * bn_weight / values;
    channel.constant = bn_bias / values - mean * channel.slope;
  }
  for (int64_t i = 0; i < kMaskWeightSums; ++i) {
    const auto sum = [&](int quantity) { return sums[(9 + quantity * kMaskWeightSums + i) * tables.padded + k]; };
    double grad = sum(kFromGradient);
    if (quantities > 1) grad -= channel.constant * sum(kFromCount) + channel.slope * sum(kFromValue);
    (i < 36 ? out.conv1_weight[k * 36 + i] : out.conv1_bias[k]) = T(channel.scale * grad);
  }
  return channel;
}

template <typename T>
void box_gradients(const BackwardPlan<T>& plan, const std::vector<Channel>& channels, int64_t v, T* grad_box) {
  const int64_t padded = plan.tables.padded;
  const T* const by_box = plan.by_box + v * plan.quantities * 4 * padded;
  for (int c = 0; c < 4; ++c) {
    double sum = 0;
    for (int64_t k = 0; k < plan.tables.channels; ++k) {
      const auto part = [&](int quantity) { return double(by_box[(quantity * 4 + c) * padded + k]); };
      double grad = part(kFromGradient);
      if (plan.quantities > 1) {
        grad -= channels[k].constant * part(kFromCount) + channels[k].slope * part(kFromValue);
      }
      sum += channels[k].scale * grad;
    }
    grad_box[c] = T(-sum);
  }
}

int64_t forward_workspace(const RefineMasksForward& given, const Call& call) {
  Workspace counting;
  with_scalar_type(call.dtype, [&](auto zero) {
    ForwardPlan<decltype(zero)>(counting, given.symbols, given.channels, given.height, given.width, given.training != 0,
                                call.threads);
  });
  return counting.bytes();
}

const char* run_forward(const RefineMasksForward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      Workspace memory(call.workspace);
      ForwardPlan<T> plan(memory, given.symbols, given.channels, given.height, given.width, given.training != 0,
                          call.threads);
      const MaskWeights<T> weights = mask_weights<T>(given.conv1_weight, given.conv1_bias, given.bn_weight,
                                                     given.bn_bias, given.conv2_weight, given.conv2_bias);
      const auto* const box = static_cast<const T*>(given.boxes);
      fill_lines(plan.tables, weights);
      if (given.training != 0) {
        batch_statistics(plan, box, given.symbols, static_cast<T*>(given.mean), static_cast<T*>(given.var),
                         call.threads, chosen);
      }
      fill_updates(plan.tables, weights,
                   batch_norm(weights, static_cast<const T*>(given.mean), static_cast<const T*>(given.var),
                              given.channels, given.eps));
      parallel_for(given.symbols, 1, call.threads, [&](int64_t begin, int64_t end, int64_t worker) {
        HMEG_VARIANT_CALL(chosen, refine_masks_forward, plan.tables, box, static_cast<T*>(given.masks), begin, end,
                          plan.rows + worker * plan.row_scalars);
      });
    });
  });
}

HMEG_ENTRY(kCpu, refine_masks_forward, run_forward, forward_workspace);

int64_t backward_workspace(const RefineMasksBackward& given, const Call& call) {
  Workspace counting;
  with_scalar_type(call.dtype, [&](auto zero) {
    BackwardPlan<decltype(zero)>(counting, given.symbols, given.channels, given.height, given.width,
                                 given.training != 0, call.threads);
  });
  return counting.bytes();
}

const char* run_backward(const RefineMasksBackward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      Workspace memory(call.workspace);
      BackwardPlan<T> plan(memory, given.symbols, given.channels, given.height, given.width, given.training != 0,
                           call.threads);
      const MaskWeights<T> weights = mask_weights<T>(given.conv1_weight, given.conv1_bias, given.bn_weight,
                                                     given.bn_bias, given.conv2_weight, given.conv2_bias);
      const auto* const means = static_cast<const T*>(given.mean);
      const BatchNorm norm = batch_norm(weights, means, static_cast<const T*>(given.var), given.channels, given.eps);
      fill_lines(plan.tables, weights);
      fill_weights(plan.tables, weights, std::vector<double>(given.channels, 1.0));
      const Groups groups(given.symbols);
      parallel_for(groups.count, 1, call.threads, [&](int64_t begin, int64_t end, int64_t worker) {
        for (int64_t group = begin; group < end; ++group) {
          const int64_t first = group * groups.size, last = std::min(first + groups.size, given.symbols);
          HMEG_VARIANT_CALL(chosen, refine_masks_backward, plan.tables, static_cast<const T*>(given.grad_masks),
                            static_cast<const T*>(given.masks), static_cast<const T*>(given.boxes), plan.by_box,
                            plan.sums + group * plan.group_sums, first, last, plan.quantities,
                            plan.scratch + worker * plan.scratch_scalars);
        }
      });
      for (int64_t group = 1; group < groups.count; ++group) {
        for (int64_t i = 0; i < plan.group_sums; ++i) plan.sums[i] += plan.sums[group * plan.group_sums + i];
      }
      const MaskGradients<T> out = {static_cast<T*>(given.grad_boxes),      static_cast<T*>(given.grad_conv1_weight),
                                    static_cast<T*>(given.grad_conv1_bias), static_cast<T*>(given.grad_bn_weight),
                                    static_cast<T*>(given.grad_bn_bias),    static_cast<T*>(given.grad_conv2_weight),
                                    static_cast<T*>(given.grad_conv2_bias)};
      const double values = double(given.symbols) * double(given.height) * double(given.width);
      std::vector<Channel> reached;
      for (int64_t k = 0; k < given.channels; ++k) {
        reached.push_back(channel_gradients(plan.tables, weights, norm, plan.sums, double(means[k]), values,
                                            plan.quantities, k, out));
      }
      out.conv2_bias[0] = T(plan.sums[plan.group_sums - 9 + 4]);  // the middle tap: every pixel
      parallel_for(given.symbols, 64, call.threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t v = begin; v < end; ++v) box_gradients(plan, reached, v, out.boxes + 4 * v);
      });
    });
  });
}

HMEG_ENTRY(kCpu, refine_masks_backward, run_backward, backward_workspace);

}  // namespace
}  // namespace hmeg::cpu
