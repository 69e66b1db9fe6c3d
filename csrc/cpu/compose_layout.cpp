// compose_layout on the CPU. Every number of the result has one owner: blocks of channels or pixels of one expression
// are shared out among threads, so results do not depend on the number of threads.
#include "compose_layout.h"

#include "cpu/batch.h"
#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/compose_layout_simd.h"
#include "cpu/variants.h"
#include "entry.h"

namespace hmeg::cpu {
namespace {

int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Where each expression's symbols begin.
template <typename P>
int64_t workspace(const P& given, const Call& /*call*/) {
  return (given.graphs + 1) * int64_t(sizeof(int64_t));
}

const char* run_forward(const ComposeLayoutForward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    auto* const first = static_cast<int64_t*>(call.workspace);
    first_symbols("compose_layout", given.batch, given.symbols, given.graphs, first);
    const int64_t blocks = blocks_of(given.channels, kComposeChannels);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      parallel_for(given.graphs * blocks, 2, call.threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / blocks, channel = item % blocks * kComposeChannels;
          HMEG_VARIANT_CALL(chosen, compose_layout_forward, static_cast<const T*>(given.masks),
                            static_cast<const T*>(given.features), static_cast<T*>(given.layout), graph, first[graph],
                            first[graph + 1], channel, given.channels, given.pixels);
        }
      });
    });
  });
}

HMEG_ENTRY(kCpu, compose_layout_forward, run_forward, workspace<ComposeLayoutForward>);

const char* run_backward(const ComposeLayoutBackward& given, const Call& call) {
  return message_of([&] {
    const Variant chosen = checked_variant(call.variant);
    auto* const first = static_cast<int64_t*>(call.workspace);
    first_symbols("compose_layout", given.batch, given.symbols, given.graphs, first);
    const int64_t tiles = blocks_of(given.pixels, kComposePixels), blocks = blocks_of(given.channels, kComposeChannels);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* const grad = static_cast<const T*>(given.grad_layout);
      parallel_for(given.graphs * tiles, 1, call.threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / tiles, pixel = item % tiles * kComposePixels;
          HMEG_VARIANT_CALL(chosen, compose_layout_backward_masks, grad, static_cast<const T*>(given.features),
                            static_cast<T*>(given.grad_masks), graph, first[graph], first[graph + 1], pixel,
                            given.channels, given.pixels);
        }
      });
      parallel_for(given.graphs * blocks, 2, call.threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / blocks, channel = item % blocks * kComposeChannels;
          HMEG_VARIANT_CALL(chosen, compose_layout_backward_features, grad, static_cast<const T*>(given.masks),
                            static_cast<T*>(given.grad_features), graph, first[graph], first[graph + 1], channel,
                            given.channels, given.pixels);
        }
      });
    });
  });
}

HMEG_ENTRY(kCpu, compose_layout_backward, run_backward, workspace<ComposeLayoutBackward>);

}  // namespace
}  // namespace hmeg::cpu
