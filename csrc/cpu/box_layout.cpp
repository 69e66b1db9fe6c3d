// box_layout on the CPU. Every number of a result has one owner: blocks of channels of one expression forward, symbols
// backward; so results do not depend on the number of threads.
#include "box_layout.h"

#include "cpu/batch.h"
#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/box_layout_simd.h"
#include "cpu/variants.h"
#include "workspace.h"
#include "entry.h"

namespace hmeg::cpu {
namespace {

template <typename T>
struct ForwardPlan {
  int64_t* first;  // of each expression's symbols
  T* ramps;        // of every symbol, down and across
  BoxSupport* supports;

  ForwardPlan(Workspace& workspace, const BoxLayoutForward& given)
      : first(workspace.take<int64_t>(given.graphs + 1)),
        ramps(workspace.take<T>(given.symbols * (given.height + given.width))),
        supports(workspace.take<BoxSupport>(given.symbols)) {}
};

int64_t forward_workspace(const BoxLayoutForward& given, const Call& call) {
  Workspace counting;
  with_scalar_type(call.dtype, [&](auto zero) { ForwardPlan<decltype(zero)>(counting, given); });
  return counting.bytes();
}

const char* run_forward(const BoxLayoutForward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    const int64_t blocks = (given.channels + kBoxLayoutChannels - 1) / kBoxLayoutChannels;
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      Workspace memory(call.workspace);
      const ForwardPlan<T> plan(memory, given);
      first_symbols("box_layout", given.batch, given.symbols, given.graphs, plan.first);
      parallel_for(given.symbols, 8192 / (given.height + given.width) + 1, call.threads,
                   [&](int64_t begin, int64_t end, int64_t) {
                     HMEG_VARIANT_CALL(chosen, box_layout_ramps, static_cast<const T*>(given.boxes), plan.ramps,
                                       plan.supports, begin, end, given.height, given.width);
                   });
      parallel_for(given.graphs * blocks, 2, call.threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / blocks, channel = item % blocks * kBoxLayoutChannels;
          HMEG_VARIANT_CALL(chosen, box_layout_forward, static_cast<const T*>(given.features), plan.ramps,
                            plan.supports, static_cast<T*>(given.layout), graph, plan.first[graph],
                            plan.first[graph + 1], channel, given.channels, given.height, given.width);
        }
      });
    });
  });
}

HMEG_ENTRY(kCpu, box_layout_forward, run_forward, forward_workspace);

// Scalars of scratch of a thread.
int64_t backward_scratch(const BoxLayoutBackward& given) {
  return 3 * (given.height + given.width) + (given.height + 5) * (given.width + 16);
}

int64_t backward_workspace(const BoxLayoutBackward& given, const Call& call) {
  return call.threads * backward_scratch(given) * sum_bytes(call.dtype);
}

const char* run_backward(const BoxLayoutBackward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    check_batch("box_layout", given.batch, given.symbols, given.graphs);
    const int64_t per_worker = backward_scratch(given);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      parallel_for(given.symbols, 1, call.threads, [&](int64_t begin, int64_t end, int64_t worker) {
        HMEG_VARIANT_CALL(chosen, box_layout_backward, static_cast<const T*>(given.grad_layout),
                          static_cast<const T*>(given.features), static_cast<const T*>(given.boxes), given.batch,
                          static_cast<T*>(given.grad_features), static_cast<T*>(given.grad_boxes), begin, end,
                          given.channels, given.height, given.width,
                          static_cast<T*>(call.workspace) + worker * per_worker);
      });
    });
  });
}

HMEG_ENTRY(kCpu, box_layout_backward, run_backward, backward_workspace);

}  // namespace
}  // namespace hmeg::cpu
