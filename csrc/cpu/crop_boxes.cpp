// crop_boxes on the CPU. Every number of a result has one owner: a symbol's crop and box gradient are one thread's, and
// so is the gradient of a block of image rows, to which boxes add in index order. Results do not depend on the number
// of threads.
#include "crop_boxes.h"

#include "cpu/batch.h"
#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/crop_boxes_simd.h"
#include "cpu/variants.h"
#include "workspace.h"
#include "entry.h"

namespace hmeg::cpu {
namespace {

// Symbols per range: about 16384 samples, so that waking a thread pays.
int64_t grain_of(const CropSizes& sizes) {
  const int64_t samples = sizes.channels * sizes.crop_height * sizes.crop_width;
  return samples < 16384 ? 16384 / (samples + 1) + 1 : 1;
}

// Scalars of scratch of a thread.
int64_t crop_boxes_scratch(int64_t crop_height, int64_t crop_width) { return 8 * crop_height + 13 * crop_width; }

template <typename T>
struct Plan {
  int64_t scratch_scalars;  // of a thread
  T* scratch;

  template <typename P>
  Plan(Workspace& workspace, const P& given, int64_t threads)
      : scratch_scalars(crop_boxes_scratch(given.crop_height, given.crop_width)),
        scratch(workspace.take<T>(threads * scratch_scalars)) {}
};

template <typename T>
struct BackwardPlan : Plan<T> {
  int64_t *first, *members;  // of each image's boxes; the boxes

  BackwardPlan(Workspace& workspace, const CropBoxesBackward& given, int64_t threads)
      : Plan<T>(workspace, given, threads),
        first(workspace.take<int64_t>(given.graphs + 1)),
        members(workspace.take<int64_t>(given.symbols)) {}
};

template <template <typename> class Memory, typename P>
int64_t workspace(const P& given, const Call& call) {
  Workspace counting;
  with_scalar_type(call.dtype, [&](auto zero) { Memory<decltype(zero)>(counting, given, call.threads); });
  return counting.bytes();
}

constexpr auto forward_workspace = workspace<Plan, CropBoxesForward>;
constexpr auto backward_workspace = workspace<BackwardPlan, CropBoxesBackward>;

template <typename P>
CropSizes crop_sizes(const P& given) {
  return {given.channels,   given.height,        given.width,       given.graph_stride, given.channel_stride,
          given.row_stride, given.column_stride, given.crop_height, given.crop_width};
}

const char* run_forward(const CropBoxesForward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    check_batch("crop_boxes", given.batch, given.symbols, given.graphs);
    const CropSizes sizes = crop_sizes(given);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      Workspace memory(call.workspace);
      const Plan<T> plan(memory, given, call.threads);
      parallel_for(given.symbols, grain_of(sizes), call.threads, [&](int64_t begin, int64_t end, int64_t worker) {
        HMEG_VARIANT_CALL(chosen, crop_boxes_forward, static_cast<const T*>(given.images),
                          static_cast<const T*>(given.boxes), given.batch, static_cast<T*>(given.crops), begin, end,
                          sizes, plan.scratch + worker * plan.scratch_scalars);
      });
    });
  });
}

HMEG_ENTRY(kCpu, crop_boxes_forward, run_forward, forward_workspace);

const char* run_backward(const CropBoxesBackward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    const CropSizes sizes = crop_sizes(given);
    const int64_t blocks = (given.height + kCropBlockRows - 1) / kCropBlockRows;
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      Workspace memory(call.workspace);
      const BackwardPlan<T> plan(memory, given, call.threads);
      order_by_graph("crop_boxes", given.batch, given.symbols, given.graphs, plan.first, plan.members);
      parallel_for(given.symbols, grain_of(sizes), call.threads, [&](int64_t begin, int64_t end, int64_t worker) {
        HMEG_VARIANT_CALL(chosen, crop_boxes_backward_boxes, static_cast<const T*>(given.grad_crops),
                          static_cast<const T*>(given.images), static_cast<const T*>(given.boxes), given.batch,
                          static_cast<T*>(given.grad_boxes), begin, end, sizes,
                          plan.scratch + worker * plan.scratch_scalars);
      });
      parallel_for(given.graphs * blocks, 1, call.threads, [&](int64_t begin, int64_t end, int64_t worker) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / blocks, row = item % blocks * kCropBlockRows;
          HMEG_VARIANT_CALL(chosen, crop_boxes_backward_images, static_cast<const T*>(given.grad_crops),
                            static_cast<const T*>(given.boxes), plan.members + plan.first[graph],
                            plan.first[graph + 1] - plan.first[graph], static_cast<T*>(given.grad_images), graph, row,
                            sizes, plan.scratch + worker * plan.scratch_scalars);
        }
      });
    });
  });
}

HMEG_ENTRY(kCpu, crop_boxes_backward, run_backward, backward_workspace);

}  // namespace
}  // namespace hmeg::cpu
