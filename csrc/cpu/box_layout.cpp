// box_layout on the CPU. Every number of a result has one owner: blocks of channels of one expression forward, symbols
// backward; so results do not depend on the number of threads.
#include "box_layout.h"

#include <vector>

#include "cpu/batch.h"
#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/box_layout_simd.h"
#include "cpu/variants.h"

const char* hmeg_cpu_box_layout_forward(int64_t dtype, const void* features, const void* boxes, const int64_t* batch,
                                        void* layout, void* workspace, int64_t symbols, int64_t graphs,
                                        int64_t channels, int64_t height, int64_t width, int64_t threads,
                                        int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    std::vector<int64_t> first(graphs + 1);
    first_symbols("box_layout", batch, symbols, graphs, first.data());
    const int64_t blocks = (channels + kBoxLayoutChannels - 1) / kBoxLayoutChannels;
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* const ramps = static_cast<T*>(workspace);
      auto* const supports = reinterpret_cast<BoxSupport*>(ramps + symbols * (height + width));
      parallel_for(symbols, 8192 / (height + width) + 1, threads, [&](int64_t begin, int64_t end, int64_t) {
        HMEG_VARIANT_CALL(chosen, box_layout_ramps, static_cast<const T*>(boxes), ramps, supports, begin, end, height,
                          width);
      });
      parallel_for(graphs * blocks, 2, threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / blocks, channel = item % blocks * kBoxLayoutChannels;
          HMEG_VARIANT_CALL(chosen, box_layout_forward, static_cast<const T*>(features), ramps, supports,
                            static_cast<T*>(layout), graph, first[graph], first[graph + 1], channel, channels, height,
                            width);
        }
      });
    });
  });
}

const char* hmeg_cpu_box_layout_backward(int64_t dtype, const void* grad_layout, const void* features,
                                         const void* boxes, const int64_t* batch, void* grad_features, void* grad_boxes,
                                         void* workspace, int64_t symbols, int64_t graphs, int64_t channels,
                                         int64_t height, int64_t width, int64_t threads, int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    check_batch("box_layout", batch, symbols, graphs);
    const int64_t per_worker = box_layout_backward_scratch(height, width);
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      parallel_for(symbols, 1, threads, [&](int64_t begin, int64_t end, int64_t worker) {
        HMEG_VARIANT_CALL(chosen, box_layout_backward, static_cast<const T*>(grad_layout),
                          static_cast<const T*>(features), static_cast<const T*>(boxes), batch,
                          static_cast<T*>(grad_features), static_cast<T*>(grad_boxes), begin, end, channels, height,
                          width, static_cast<T*>(workspace) + worker * per_worker);
      });
    });
  });
}
