// refine_layout on the CPU: rows of one expression are one thread's, so results do not depend on the number of threads.
#include "refine_layout.h"

#include <algorithm>
#include <vector>

#include "cpu/batch.h"
#include "cpu/call.h"
#include "cpu/mask_tables.h"
#include "cpu/parallel.h"
#include "cpu/simd/refine_layout_simd.h"
#include "cpu/simd/refine_masks_simd.h"
#include "cpu/variants.h"

namespace hmeg::cpu {
namespace {

template <typename T>
struct LayoutPlan {
  MaskTables<T> tables;
  T* scratch;
  int64_t scratch_scalars;

  LayoutPlan(Workspace& workspace, int64_t hidden, int64_t height, int64_t width, int64_t threads)
      : tables(mask_tables<T>(workspace, hidden, height, width)) {
    scratch_scalars = mask_forward_scratch(tables.padded, width) + kRefineSymbols * refine_tile_rows(width) * width;
    scratch = workspace.take<T>(threads * scratch_scalars);
  }
};

}  // namespace
}  // namespace hmeg::cpu

int64_t hmeg_cpu_refine_layout_workspace(int64_t dtype, int64_t hidden, int64_t width, int64_t threads) {
  using namespace hmeg::cpu;
  Workspace counting;
  with_scalar_type(dtype, [&](auto zero) { LayoutPlan<decltype(zero)>(counting, hidden, 1, width, threads); });
  return counting.bytes();
}

const char* hmeg_cpu_refine_layout(int64_t dtype, const void* boxes, const void* conv1_weight, const void* conv1_bias,
                                   const void* bn_weight, const void* bn_bias, const void* mean, const void* var,
                                   const void* conv2_weight, const void* conv2_bias, const void* features,
                                   const int64_t* batch, void* layout, void* workspace, int64_t symbols, int64_t graphs,
                                   int64_t hidden, int64_t channels, int64_t height, int64_t width, double eps,
                                   int64_t threads, int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    std::vector<int64_t> first(graphs + 1);
    first_symbols("refine_layout", batch, symbols, graphs, first.data());
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      Workspace memory(workspace);
      LayoutPlan<T> plan(memory, hidden, height, width, threads);
      const MaskWeights<T> weights =
          mask_weights<T>(conv1_weight, conv1_bias, bn_weight, bn_bias, conv2_weight, conv2_bias);
      fill_lines(plan.tables, weights);
      fill_updates(plan.tables, weights,
                   batch_norm(weights, static_cast<const T*>(mean), static_cast<const T*>(var), hidden, eps));
      const int64_t rows = refine_tile_rows(width), tiles = (height + rows - 1) / rows;
      parallel_for(graphs * tiles, 1, threads, [&](int64_t begin, int64_t end, int64_t worker) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / tiles, row = item % tiles * rows;
          HMEG_VARIANT_CALL(chosen, refine_layout_tile, plan.tables, static_cast<const T*>(boxes),
                            static_cast<const T*>(features),
                            static_cast<T*>(layout) + graph * channels * height * width, first[graph], first[graph + 1],
                            channels, row, std::min(row + rows, height), plan.scratch + worker * plan.scratch_scalars);
        }
      });
    });
  });
}
