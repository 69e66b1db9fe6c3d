// box_layout: features (V, C) and boxes (V, 4) -> layout (N, C, H, W), and the gradients of both; masks are never
// stored.
//
// Forward: layout_tile.h, with masks made where they are needed; a warp passes over a symbol that does not reach its
// rows. Backward: a block has one symbol and 32 channels and reads the incoming gradient in the box's support only: a
// lane has a pixel, a warp eight channels, whose reads are all on their way at once. The box's gradient is added up
// over channels in a second, small kernel.
#include "box_layout.h"

#include "device.h"
#include "dtypes.h"
#include "entry.h"
#include "expression.h"
#include "layout_tile.h"
#include "soft_ramp.h"

namespace hmeg {
namespace {

template <typename T, int kPack, typename Array>
struct BoxMasks {
  using A = Accumulator<T>;
  const T* boxes;
  Array& sides;  // of the staged symbols: where the box begins and 1 / its side, across and down
  int64_t height, width, row, column;

  HMEG_DEVICE void stage(int64_t first, int count) {
    const int symbol = thread_index();
    if (symbol >= count) return;
    const T* const box = boxes + 4 * (first + symbol);
    Side<A> across(widen(box[0]), widen(box[2]), width), down(widen(box[1]), widen(box[3]), height);
    spread_nan(across, down);
    sides[4 * symbol] = across.low;
    sides[4 * symbol + 1] = across.reciprocal;
    sides[4 * symbol + 2] = down.low;
    sides[4 * symbol + 3] = down.reciprocal;
  }

  HMEG_DEVICE bool mask(int symbol, A (&values)[kPack]) const {
    Side<A> side;
    side.low = sides[4 * symbol + 2], side.reciprocal = sides[4 * symbol + 3];
    side.count = height, side.step = grid_step<A>(height);
    const A factor = SoftRamp<A>(side, row).value;
    if (count_lanes(factor != A(0)) == 0) return false;
    side.low = sides[4 * symbol], side.reciprocal = sides[4 * symbol + 1];
    side.count = width, side.step = grid_step<A>(width);
    HMEG_UNROLL
    for (int k = 0; k < kPack; ++k) values[k] = factor * SoftRamp<A>(side, column + k).value;
    return true;
  }
};

template <typename T, int kPack, int kBlock>
HMEG_KERNEL box_layout_forward(const T* features, const T* boxes, const int64_t* batch, T* layout, LayoutTiles tiles,
                               int64_t height, int64_t width) {
  HMEG_SHARED(Accumulator<T>, sides, 4 * kTileSymbols);
  const LayoutPlace place = layout_place<kPack, kBlock>(tiles);
  const Symbols symbols = symbols_of(batch, tiles.symbols, place.graph);
  BoxMasks<T, kPack, decltype(sides)> source{boxes, sides, height, width, place.pixel / width, place.pixel % width};
  paint_layout_tile<T, kPack, kBlock>(source, features, layout, place.graph, symbols, tiles, place.channel,
                                      place.pixel);
}

constexpr int kBackwardBlock = 128, kWarps = kBackwardBlock / 32;
constexpr int kBlockChannels = 32, kWarpChannels = kBlockChannels / kWarps;

struct Extent {
  int64_t symbols, graphs, channels, height, width, channel_blocks;
};

// grad_features (V, C), and each block's part of the gradient of its box (V, channel blocks, 4).
template <typename T>
HMEG_KERNEL box_layout_backward(const T* grad_layout, const T* features, const T* boxes, const int64_t* batch,
                                T* grad_features, Accumulator<T>* partial, Extent extent) {
  using A = Accumulator<T>;
  const int64_t symbol = block_index() / extent.channel_blocks, graph = batch[symbol];
  const int64_t channel = block_index() % extent.channel_blocks * kBlockChannels + thread_index() / 32 * kWarpChannels;
  const T* const box = boxes + 4 * symbol;
  Side<A> across(widen(box[0]), widen(box[2]), extent.width), down(widen(box[1]), widen(box[3]), extent.height);
  spread_nan(across, down);
  const Support columns = support_of(across), rows = support_of(down);
  const int64_t pixels = extent.height * extent.width;
  const int64_t wide = columns.end > columns.begin ? columns.end - columns.begin : 0;
  const int64_t high = rows.end > rows.begin && graph >= 0 && graph < extent.graphs ? rows.end - rows.begin : 0;
  const T* const grad = grad_layout + (graph * extent.channels + channel) * pixels;
  A factors[kWarpChannels];
  HMEG_UNROLL
  for (int c = 0; c < kWarpChannels; ++c) {
    factors[c] = channel + c < extent.channels ? A(widen(features[symbol * extent.channels + channel + c])) : A(0);
  }
  A by_feature[kWarpChannels] = {}, by_box[4] = {};
  for (int64_t item = thread_index() % 32; item < wide * high; item += 32) {
    const int64_t row = rows.begin + item / wide, column = columns.begin + item % wide;
    const SoftRamp<A> x(across, column), y(down, row);
    if (x.zero() || y.zero()) continue;
    A values[kWarpChannels];
    HMEG_UNROLL
    for (int c = 0; c < kWarpChannels; ++c) {
      values[c] = channel + c < extent.channels ? A(widen(grad[c * pixels + row * extent.width + column])) : A(0);
    }
    A all = 0;
    HMEG_UNROLL
    for (int c = 0; c < kWarpChannels; ++c) {
      by_feature[c] += x.value * y.value * values[c];
      all += factors[c] * values[c];
    }
    by_box[0] += all * y.value * x.by_low;
    by_box[1] += all * x.value * y.by_low;
    by_box[2] += all * y.value * x.by_high;
    by_box[3] += all * x.value * y.by_high;
  }
  HMEG_UNROLL
  for (int c = 0; c < kWarpChannels; ++c) {
    const A sum = warp_sum(by_feature[c]);
    if (thread_index() % 32 == 0 && channel + c < extent.channels) {
      grad_features[symbol * extent.channels + channel + c] = narrow<T>(sum);
    }
  }
  block_sum<kBackwardBlock>(by_box);
  if (thread_index() == 0) {
    HMEG_UNROLL
    for (int k = 0; k < 4; ++k) partial[4 * block_index() + k] = by_box[k];
  }
}

template <typename T>
HMEG_KERNEL box_layout_sum(const Accumulator<T>* partial, T* grad_boxes, int64_t numbers, int64_t channel_blocks) {
  const int64_t number = block_index() * kBackwardBlock + thread_index();
  if (number >= numbers) return;
  Accumulator<T> sum = 0;
  for (int64_t block = 0; block < channel_blocks; ++block) {
    sum += partial[(number / 4 * channel_blocks + block) * 4 + number % 4];
  }
  grad_boxes[number] = narrow<T>(sum);
}

template <typename T, int kPack, int kBlock>
const char* launch_forward(const T* features, const T* boxes, const int64_t* batch, T* layout, int64_t graphs,
                           const LayoutTiles& tiles, int64_t height, int64_t width, void* stream) {
  return launch<kBlock>(box_layout_forward<T, kPack, kBlock>, tiles.blocks(graphs), stream, features, boxes, batch,
                        layout, tiles, height, width);
}

const char* run_forward(const BoxLayoutForward& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kPack = 16 / sizeof(T), kLarge = 256, kSmall = 64;
    const int64_t pixels = given.height * given.width;
    const auto run = [&](auto forward, const LayoutTiles& tiles) {
      return forward(static_cast<const T*>(given.features), static_cast<const T*>(given.boxes), given.batch,
                     static_cast<T*>(given.layout), given.graphs, tiles, given.height, given.width, call.stream);
    };
    if (!packs_fit<kPack>(static_cast<T*>(given.layout), given.width)) {
      return run(launch_forward<T, 1, kLarge>, layout_tiles<1, kLarge>(given.symbols, given.channels, pixels));
    }
    const LayoutTiles large = layout_tiles<kPack, kLarge>(given.symbols, given.channels, pixels);
    if (large.blocks(given.graphs) >= kFewBlocks) return run(launch_forward<T, kPack, kLarge>, large);
    return run(launch_forward<T, kPack, kSmall>, layout_tiles<kPack, kSmall>(given.symbols, given.channels, pixels));
  });
}

HMEG_ENTRY(kCuda, box_layout_forward, run_forward);

int64_t channel_blocks_of(const BoxLayoutBackward& given) {
  return (given.channels + kBlockChannels - 1) / kBlockChannels;
}

// Every block's part of its box's gradient.
int64_t backward_workspace(const BoxLayoutBackward& given, const Call& call) {
  return 4 * given.symbols * channel_blocks_of(given) * sum_bytes(call.dtype);
}

const char* run_backward(const BoxLayoutBackward& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) -> const char* {
    using T = decltype(zero);
    auto* const partial = static_cast<Accumulator<T>*>(call.workspace);
    const int64_t channel_blocks = channel_blocks_of(given), numbers = 4 * given.symbols;
    const Extent extent{given.symbols, given.graphs, given.channels, given.height, given.width, channel_blocks};
    const char* error = launch<kBackwardBlock>(
        box_layout_backward<T>, given.symbols * channel_blocks, call.stream, static_cast<const T*>(given.grad_layout),
        static_cast<const T*>(given.features), static_cast<const T*>(given.boxes), given.batch,
        static_cast<T*>(given.grad_features), partial, extent);
    if (error != nullptr) return error;
    return launch<kBackwardBlock>(box_layout_sum<T>, (numbers + kBackwardBlock - 1) / kBackwardBlock, call.stream,
                                  static_cast<const Accumulator<T>*>(partial), static_cast<T*>(given.grad_boxes),
                                  numbers, channel_blocks);
  });
}

HMEG_ENTRY(kCuda, box_layout_backward, run_backward, backward_workspace);

}  // namespace
}  // namespace hmeg
