// crop_boxes on the CPU. Every number of a result has one owner: a symbol's crop and box gradient are one thread's, and
// so is the gradient of a block of image rows, to which boxes add in index order. Results do not depend on the number
// of threads.
#include "crop_boxes.h"

#include "cpu/batch.h"
#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/crop_boxes_simd.h"
#include "cpu/variants.h"

namespace hmeg::cpu {
namespace {

// Symbols per range: about 16384 samples, so that waking a thread pays.
int64_t grain_of(const CropSizes& sizes) {
  const int64_t samples = sizes.channels * sizes.crop_height * sizes.crop_width;
  return samples < 16384 ? 16384 / (samples + 1) + 1 : 1;
}

}  // namespace
}  // namespace hmeg::cpu

const char* hmeg_cpu_crop_boxes_forward(int64_t dtype, const void* images, const void* boxes, const int64_t* batch,
                                        void* crops, void* workspace, int64_t symbols, int64_t graphs, int64_t channels,
                                        int64_t height, int64_t width, int64_t graph_stride, int64_t channel_stride,
                                        int64_t row_stride, int64_t column_stride, int64_t crop_height,
                                        int64_t crop_width, int64_t threads, int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    check_batch("crop_boxes", batch, symbols, graphs);
    const CropSizes sizes{channels,   height,        width,       graph_stride, channel_stride,
                          row_stride, column_stride, crop_height, crop_width};
    const int64_t per_worker = crop_boxes_scratch(crop_height, crop_width);
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      parallel_for(symbols, grain_of(sizes), threads, [&](int64_t begin, int64_t end, int64_t worker) {
        HMEG_VARIANT_CALL(chosen, crop_boxes_forward, static_cast<const T*>(images), static_cast<const T*>(boxes),
                          batch, static_cast<T*>(crops), begin, end, sizes,
                          static_cast<T*>(workspace) + worker * per_worker);
      });
    });
  });
}

const char* hmeg_cpu_crop_boxes_backward(int64_t dtype, const void* grad_crops, const void* images, const void* boxes,
                                         const int64_t* batch, void* grad_images, void* grad_boxes, void* workspace,
                                         int64_t* order, int64_t symbols, int64_t graphs, int64_t channels,
                                         int64_t height, int64_t width, int64_t graph_stride, int64_t channel_stride,
                                         int64_t row_stride, int64_t column_stride, int64_t crop_height,
                                         int64_t crop_width, int64_t threads, int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    const CropSizes sizes{channels,   height,        width,       graph_stride, channel_stride,
                          row_stride, column_stride, crop_height, crop_width};
    int64_t* const first = order;
    int64_t* const members = order + graphs + 1;
    order_by_graph("crop_boxes", batch, symbols, graphs, first, members);
    const int64_t per_worker = crop_boxes_scratch(crop_height, crop_width);
    const int64_t blocks = (height + kCropBlockRows - 1) / kCropBlockRows;
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      parallel_for(symbols, grain_of(sizes), threads, [&](int64_t begin, int64_t end, int64_t worker) {
        HMEG_VARIANT_CALL(chosen, crop_boxes_backward_boxes, static_cast<const T*>(grad_crops),
                          static_cast<const T*>(images), static_cast<const T*>(boxes), batch,
                          static_cast<T*>(grad_boxes), begin, end, sizes,
                          static_cast<T*>(workspace) + worker * per_worker);
      });
      parallel_for(graphs * blocks, 1, threads, [&](int64_t begin, int64_t end, int64_t worker) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t graph = item / blocks, row = item % blocks * kCropBlockRows;
          HMEG_VARIANT_CALL(chosen, crop_boxes_backward_images, static_cast<const T*>(grad_crops),
                            static_cast<const T*>(boxes), members + first[graph], first[graph + 1] - first[graph],
                            static_cast<T*>(grad_images), graph, row, sizes,
                            static_cast<T*>(workspace) + worker * per_worker);
        }
      });
    });
  });
}
