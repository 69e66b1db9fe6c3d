// compose_layout on the CPU. Every number of the result has one owner: blocks of channels or pixels of one expression
// are shared out among threads, so results do not depend on the number of threads.
#include "compose_layout.h"

#include <vector>

#include "cpu/batch.h"
#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/compose_layout_simd.h"
#include "cpu/variants.h"

namespace hmeg::cpu {
namespace {

int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

}  // namespace
}  // namespace hmeg::cpu

const char* hmeg_cpu_compose_layout_forward(int64_t dtype, const void* masks, const void* features,
                                            const int64_t* batch, void* layout, int64_t symbols, int64_t graphs,
                                            int64_t channels, int64_t pixels, int64_t threads, int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    std::vector<int64_t> first(graphs + 1);
    first_symbols("compose_layout", batch, symbols, graphs, first.data());
    const int64_t blocks = blocks_of(channels, kComposeChannels);
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      parallel_for(graphs * blocks, 2, threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / blocks, channel = item % blocks * kComposeChannels;
          HMEG_VARIANT_CALL(chosen, compose_layout_forward, static_cast<const T*>(masks),
                            static_cast<const T*>(features), static_cast<T*>(layout), graph, first[graph],
                            first[graph + 1], channel, channels, pixels);
        }
      });
    });
  });
}

const char* hmeg_cpu_compose_layout_backward(int64_t dtype, const void* grad_layout, const void* masks,
                                             const void* features, const int64_t* batch, void* grad_masks,
                                             void* grad_features, int64_t symbols, int64_t graphs, int64_t channels,
                                             int64_t pixels, int64_t threads, int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    std::vector<int64_t> first(graphs + 1);
    first_symbols("compose_layout", batch, symbols, graphs, first.data());
    const int64_t tiles = blocks_of(pixels, kComposePixels), blocks = blocks_of(channels, kComposeChannels);
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* const grad = static_cast<const T*>(grad_layout);
      parallel_for(graphs * tiles, 1, threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / tiles, pixel = item % tiles * kComposePixels;
          HMEG_VARIANT_CALL(chosen, compose_layout_backward_masks, grad, static_cast<const T*>(features),
                            static_cast<T*>(grad_masks), graph, first[graph], first[graph + 1], pixel, channels,
                            pixels);
        }
      });
      parallel_for(graphs * blocks, 2, threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / blocks, channel = item % blocks * kComposeChannels;
          HMEG_VARIANT_CALL(chosen, compose_layout_backward_features, grad, static_cast<const T*>(masks),
                            static_cast<T*>(grad_features), graph, first[graph], first[graph + 1], channel, channels,
                            pixels);
        }
      });
    });
  });
}
