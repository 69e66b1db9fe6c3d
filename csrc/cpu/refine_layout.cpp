// refine_layout on the CPU: rows of one expression are one thread's, so results do not depend on the number of threads.
#include "refine_layout.h"

#include <algorithm>

#include "cpu/batch.h"
#include "cpu/call.h"
#include "cpu/mask_tables.h"
#include "cpu/parallel.h"
#include "cpu/simd/refine_layout_simd.h"
#include "cpu/simd/refine_masks_simd.h"
#include "cpu/variants.h"
#include "entry.h"

namespace hmeg::cpu {
namespace {

template <typename T>
struct LayoutPlan {
  int64_t* first;  // of each expression's symbols
  MaskTables<T> tables;
  T* scratch;
  int64_t scratch_scalars;

  LayoutPlan(Workspace& workspace, const RefineLayout& given, int64_t threads)
      : first(workspace.take<int64_t>(given.graphs + 1)),
        tables(mask_tables<T>(workspace, given.hidden, given.height, given.width)) {
    scratch_scalars =
        mask_forward_scratch(tables.padded, given.width) + kRefineSymbols * refine_tile_rows(given.width) * given.width;
    scratch = workspace.take<T>(threads * scratch_scalars);
  }
};

int64_t workspace(const RefineLayout& given, const Call& call) {
  Workspace counting;
  with_scalar_type(call.dtype, [&](auto zero) { LayoutPlan<decltype(zero)>(counting, given, call.threads); });
  return counting.bytes();
}

const char* run(const RefineLayout& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      Workspace memory(call.workspace);
      LayoutPlan<T> plan(memory, given, call.threads);
      first_symbols("refine_layout", given.batch, given.symbols, given.graphs, plan.first);
      const MaskWeights<T> weights = mask_weights<T>(given.conv1_weight, given.conv1_bias, given.bn_weight,
                                                     given.bn_bias, given.conv2_weight, given.conv2_bias);
      fill_lines(plan.tables, weights);
      fill_updates(plan.tables, weights,
                   batch_norm(weights, static_cast<const T*>(given.mean), static_cast<const T*>(given.var),
                              given.hidden, given.eps));
      const int64_t rows = refine_tile_rows(given.width), tiles = (given.height + rows - 1) / rows;
      parallel_for(given.graphs * tiles, 1, call.threads, [&](int64_t begin, int64_t end, int64_t worker) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / tiles, row = item % tiles * rows;
          HMEG_VARIANT_CALL(chosen, refine_layout_tile, plan.tables, static_cast<const T*>(given.boxes),
                            static_cast<const T*>(given.features),
                            static_cast<T*>(given.layout) + graph * given.channels * given.height * given.width,
                            plan.first[graph], plan.first[graph + 1], given.channels, row,
                            std::min(row + rows, given.height), plan.scratch + worker * plan.scratch_scalars);
        }
      });
    });
  });
}

HMEG_ENTRY(kCpu, refine_layout, run, workspace);

}  // namespace
}  // namespace hmeg::cpu
