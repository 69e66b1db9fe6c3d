// attention_readout on the CPU: an expression is one thread's work, and so is a row of the weight's gradient, so
// results do not depend on the number of threads.
#include "attention_readout.h"

#include "cpu/batch.h"
#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/attention_readout_simd.h"
#include "cpu/variants.h"
#include "workspace.h"
#include "entry.h"

namespace hmeg::cpu {
namespace {

constexpr int64_t kRowGrain = 16;

template <typename T>
struct Plan {
  int64_t* first;  // of each expression's symbols
  T* rows;         // two for every thread

  template <typename P>
  Plan(Workspace& workspace, const P& given, int64_t threads)
      : first(workspace.take<int64_t>(given.graphs + 1)), rows(workspace.take<T>(2 * given.channels * threads)) {}
};

template <typename P>
int64_t workspace(const P& given, const Call& call) {
  Workspace counting;
  with_scalar_type(call.dtype, [&](auto zero) { Plan<decltype(zero)>(counting, given, call.threads); });
  return counting.bytes();
}

const char* run_forward(const AttentionReadoutForward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      Workspace memory(call.workspace);
      const Plan<T> plan(memory, given, call.threads);
      first_symbols("attention_readout", given.batch, given.symbols, given.graphs, plan.first);
      parallel_for(given.graphs, 1, call.threads, [&](int64_t begin, int64_t end, int64_t worker) {
        T* const own = plan.rows + 2 * given.channels * worker;
        for (int64_t n = begin; n < end; ++n) {
          HMEG_VARIANT_CALL(chosen, attention_readout_forward, static_cast<const T*>(given.x),
                            static_cast<const T*>(given.weight), static_cast<T*>(given.out) + n * given.channels, own,
                            own + given.channels, plan.first[n], plan.first[n + 1], given.channels);
        }
      });
    });
  });
}

HMEG_ENTRY(kCpu, attention_readout_forward, run_forward, workspace<AttentionReadoutForward>);

const char* run_backward(const AttentionReadoutBackward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      Workspace memory(call.workspace);
      const Plan<T> plan(memory, given, call.threads);
      first_symbols("attention_readout", given.batch, given.symbols, given.graphs, plan.first);
      auto* const mean = reinterpret_cast<T*>(given.means);
      auto* const context = reinterpret_cast<T*>(given.grad_products);
      parallel_for(given.graphs, 1, call.threads, [&](int64_t begin, int64_t end, int64_t worker) {
        T* const own = plan.rows + 2 * given.channels * worker;
        for (int64_t n = begin; n < end; ++n) {
          HMEG_VARIANT_CALL(chosen, attention_readout_backward, static_cast<const T*>(given.grad) + n * given.channels,
                            static_cast<const T*>(given.x), static_cast<const T*>(given.weight),
                            mean + n * given.channels, context + n * given.channels, static_cast<T*>(given.grad_x), own,
                            own + given.channels, plan.first[n], plan.first[n + 1], given.channels);
        }
      });
      parallel_for(given.channels, kRowGrain, call.threads, [&](int64_t begin, int64_t end, int64_t) {
        HMEG_VARIANT_CALL(chosen, attention_readout_backward_weight, mean, context, static_cast<T*>(given.grad_weight),
                          begin, end, given.graphs, given.channels);
      });
    });
  });
}

HMEG_ENTRY(kCpu, attention_readout_backward, run_backward, workspace<AttentionReadoutBackward>);

}  // namespace
}  // namespace hmeg::cpu
