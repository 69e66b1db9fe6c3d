// attention_readout on the CPU: an expression is one thread's work, and so is a row of the weight's gradient, so
// results do not depend on the number of threads.
#include "attention_readout.h"

#include <algorithm>
#include <vector>

#include "cpu/batch.h"
#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/attention_readout_simd.h"
#include "cpu/variants.h"

namespace hmeg::cpu {
namespace {

constexpr int64_t kRowGrain = 16;

}  // namespace
}  // namespace hmeg::cpu

const char* hmeg_cpu_attention_readout_forward(int64_t dtype, const void* x, const void* weight, const int64_t* batch,
                                               void* g, int64_t symbols, int64_t graphs, int64_t channels,
                                               int64_t threads, int64_t variant) {
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    std::vector<int64_t> first(graphs + 1);
    first_symbols("attention_readout", batch, symbols, graphs, first.data());
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      std::vector<T> rows(2 * channels * std::max<int64_t>(threads, 1));  // a context and a mean for every thread
      parallel_for(graphs, 1, threads, [&](int64_t begin, int64_t end, int64_t worker) {
        T* const own = rows.data() + 2 * channels * worker;
        for (int64_t n = begin; n < end; ++n) {
          HMEG_VARIANT_CALL(chosen, attention_readout_forward, static_cast<const T*>(x), static_cast<const T*>(weight),
                            static_cast<T*>(g) + n * channels, own, own + channels, first[n], first[n + 1], channels);
        }
      });
    });
  });
}

const char* hmeg_cpu_attention_readout_backward(int64_t dtype, const void* grad, const void* x, const void* weight,
                                                const int64_t* batch, void* means, void* grad_contexts, void* grad_x,
                                                void* grad_weight, int64_t symbols, int64_t graphs, int64_t channels,
                                                int64_t threads, int64_t variant) {
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    std::vector<int64_t> first(graphs + 1);
    first_symbols("attention_readout", batch, symbols, graphs, first.data());
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      std::vector<T> rows(2 * channels * std::max<int64_t>(threads, 1));  // two rows of scratch for every thread
      auto* const mean = static_cast<T*>(means);
      auto* const context = static_cast<T*>(grad_contexts);
      parallel_for(graphs, 1, threads, [&](int64_t begin, int64_t end, int64_t worker) {
        T* const own = rows.data() + 2 * channels * worker;
        for (int64_t n = begin; n < end; ++n) {
          HMEG_VARIANT_CALL(chosen, attention_readout_backward, static_cast<const T*>(grad) + n * channels,
                            static_cast<const T*>(x), static_cast<const T*>(weight), mean + n * channels,
                            context + n * channels, static_cast<T*>(grad_x), own, own + channels, first[n],
                            first[n + 1], channels);
        }
      });
      parallel_for(channels, kRowGrain, threads, [&](int64_t begin, int64_t end, int64_t) {
        HMEG_VARIANT_CALL(chosen, attention_readout_backward_weight, mean, context, static_cast<T*>(grad_weight), begin,
                          end, graphs, channels);
      });
    });
  });
}
