// refine_layout: boxes (V, 4) and features (V, C) -> layout (N, C, H, W), in evaluation mode: the learned masks of
// refine_masks are used where they are made and never stored.
//
// The product is layout_tile.h's. A pack's masks are made by all warps of the block that paint other channels of the
// same pixels, each for its share of the hidden channels, and added up in shared memory. A thread reads no neighbour's
// sums: it makes the hidden values around its pack itself (three rows of kPack + 2), which costs about twice the
// arithmetic of refine_masks' kernel and no second pass over masks.
#include "refine_layout.h"

#include "device.h"
#include "dtypes.h"
#include "entry.h"
#include "expression.h"
#include "layout_tile.h"
#include "mask_weights.h"
#include "ramp_convolution.h"

namespace hmeg {
namespace {

// Hidden channels whose weights lie in shared memory at a time.
template <typename A>
constexpr int kHidden = sizeof(A) == 8 ? 32 : 64;

struct Hidden {
  int64_t channels, height, width;
};

template <typename T, int kPack, int kBlock, typename Slopes, typename Offsets, typename Taps, typename Partial>
struct RefinedMasks {
  using A = Accumulator<T>;
  static constexpr int kChannels = kHidden<A>;
  const T* boxes;
  const PreparedWeights<A>& weights;
  Hidden hidden;
  Slopes& slopes;    // (kClasses, kChannels, 2): a and c of the planes
  Offsets& offsets;  // (kClasses, kChannels): d of the planes, of one symbol
  Taps& taps;        // (kChannels, kFoldedTaps)
  Partial& partial;  // (kBlock, kPack): a warp's share of its pixels' logits
  int across;        // warps that share their pixels
  bool inside;       // whether this thread has pixels
  int64_t row, column, first_symbol;
  int64_t held;  // first of the hidden channels whose slopes and taps are in shared memory, or -1

  HMEG_DEVICE void stage(int64_t first, int) { first_symbol = first; }

  // All threads of the block come here together: layout_tile.h asks for the same symbols in all of them.
  HMEG_DEVICE bool mask(int symbol, A (&values)[kPack]) {
    const T* const corner = boxes + 4 * (first_symbol + symbol);
    const A box[4] = {widen(corner[0]), widen(corner[1]), widen(corner[2]), widen(corner[3])};
    A logits[kPack] = {};
    for (int64_t first = 0; first < hidden.channels || first == 0; first += kChannels) {
      const int count = static_cast<int>(hidden.channels - first < kChannels ? hidden.channels - first : kChannels);
      sync_block();
      for (int item = thread_index(); item < kClasses * count; item += kBlock) {
        const int cls = item / count, channel = item % count;
        const Plane<A> plane = plane_of(weights.table, cls, first + channel, hidden.channels, box);
        offsets[cls * kChannels + channel] = plane.d;
        if (held == first) continue;
        slopes[2 * (cls * kChannels + channel)] = plane.a;
        slopes[2 * (cls * kChannels + channel) + 1] = plane.c;
      }
      for (int item = thread_index(); held != first && item < count * kFoldedTaps; item += kBlock) {
        taps[item] = weights.folded[first * kFoldedTaps + item];
      }
      held = first;
      sync_block();
      if (inside) add_channels(count, logits);
    }
    HMEG_UNROLL
    for (int k = 0; k < kPack; ++k) partial[thread_index() * kPack + k] = logits[k];
    sync_block();
    const int warp = thread_index() / 32, lane = thread_index() % 32, first_warp = warp - warp % across;
    HMEG_UNROLL
    for (int k = 0; k < kPack; ++k) {
      A logit = 0;
      for (int other = 0; other < across; ++other) {
        logit += partial[((first_warp + other) * 32 + lane) * kPack + k];
      }
      if (inside) {
        logit += weights.constants[3 * class_along(row, hidden.height) + class_along(column + k, hidden.width)];
      }
      values[k] = A(1) / (A(1) + exponential(-logit));
    }
    return true;
  }

  // Adds what this warp's share of the hidden channels gives to the pack's logits.
  HMEG_DEVICE void add_channels(int count, A (&logits)[kPack]) const {
    const A across_step = grid_step<A>(hidden.width), down_step = grid_step<A>(hidden.height);
    HMEG_UNROLL
    for (int down = -1; down <= 1; ++down) {
      const int64_t i = row + down;
      if (i < 0 || i >= hidden.height) continue;
      const A y = grid_point(i, hidden.height, down_step);
      const int row_class = 3 * class_along(i, hidden.height);
      A x[kPack + 2];
      int cls[kPack + 2];
      HMEG_UNROLL
      for (int q = 0; q < kPack + 2; ++q) {
        const int64_t j = column + q - 1;
        x[q] = grid_point(j, hidden.width, across_step);
        cls[q] = j < 0 || j >= hidden.width ? -1 : row_class + class_along(j, hidden.width);
      }
      for (int channel = thread_index() / 32 % across; channel < count; channel += across) {
        const A left = taps[channel * kFoldedTaps + 3 * (down + 1)];
        const A middle = taps[channel * kFoldedTaps + 3 * (down + 1) + 1];
        const A right = taps[channel * kFoldedTaps + 3 * (down + 1) + 2];
        A value[kPack + 2];
        HMEG_UNROLL
        for (int q = 0; q < kPack + 2; ++q) {
          const int place = (cls[q] < 0 ? 0 : cls[q]) * kChannels + channel;
          const A z = slopes[2 * place] * x[q] + (slopes[2 * place + 1] * y + offsets[place]);
          value[q] = cls[q] < 0 ? A(0) : positive_part(z);
        }
        HMEG_UNROLL
        for (int k = 0; k < kPack; ++k) {
          logits[k] += left * value[k] + middle * value[k + 1] + right * value[k + 2];
        }
      }
    }
  }
};

template <typename T, int kPack, int kBlock>
HMEG_KERNEL refine_layout(const T* features, const T* boxes, const int64_t* batch,
                          PreparedWeights<Accumulator<T>> weights, T* layout, LayoutTiles tiles, Hidden hidden) {
  using A = Accumulator<T>;
  HMEG_SHARED(A, slopes, 2 * kClasses * kHidden<A>);
  HMEG_SHARED(A, offsets, kClasses * kHidden<A>);
  HMEG_SHARED(A, taps, kHidden<A> * kFoldedTaps);
  HMEG_SHARED(A, partial, kBlock * kPack);
  const LayoutPlace place = layout_place<kPack, kBlock>(tiles);
  const Symbols symbols = symbols_of(batch, tiles.symbols, place.graph);
  constexpr int kLogChannels = kPack == 8 ? 3 : 4;
  RefinedMasks<T, kPack, kBlock, decltype(slopes), decltype(offsets), decltype(taps), decltype(partial)> source{
      boxes,
      weights,
      hidden,
      slopes,
      offsets,
      taps,
      partial,
      1 << (tiles.log_channels - kLogChannels),
      place.pixel < tiles.pixels,
      place.pixel / hidden.width,
      place.pixel % hidden.width,
      0,
      -1};
  paint_layout_tile<T, kPack, kBlock>(source, features, layout, place.graph, symbols, tiles, place.channel,
                                      place.pixel);
}

template <typename T, int kPack, int kBlock>
const char* launch_refine_layout(const T* features, const T* boxes, const int64_t* batch,
                                 const PreparedWeights<Accumulator<T>>& weights, T* layout, int64_t graphs,
                                 int64_t symbols, int64_t channels, const Hidden& hidden, void* stream) {
  const LayoutTiles tiles = layout_tiles<kPack, kBlock>(symbols, channels, hidden.height * hidden.width);
  return launch<kBlock>(refine_layout<T, kPack, kBlock>, tiles.blocks(graphs), stream, features, boxes, batch, weights,
                        layout, tiles, hidden);
}

int64_t workspace(const RefineLayout& given, const Call& call) {
  return PreparedWeights<float>::size(given.hidden) * sum_bytes(call.dtype);
}

const char* run(const RefineLayout& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) -> const char* {
    using T = decltype(zero);
    using A = Accumulator<T>;
    constexpr int kPack = 16 / sizeof(T), kBlock = 256;
    const auto as = [](const void* from) { return static_cast<const T*>(from); };
    const PreparedWeights<A> weights(static_cast<A*>(call.workspace), given.hidden);
    const MaskParameters<T> parameters{as(given.conv1_weight),
                                       as(given.conv1_bias),
                                       as(given.bn_weight),
                                       as(given.bn_bias),
                                       as(given.conv2_weight),
                                       as(given.conv2_bias),
                                       given.hidden,
                                       given.height,
                                       given.width,
                                       static_cast<A>(given.eps)};
    const char* const error = launch<256>(prepare_weights<T, T, 256>, 1, call.stream, parameters, as(given.mean),
                                          as(given.var), weights, true, true);
    if (error != nullptr) return error;
    auto* const out = static_cast<T*>(given.layout);
    const auto run = packs_fit<kPack>(out, given.width) ? launch_refine_layout<T, kPack, kBlock>
                                                        : launch_refine_layout<T, 1, kBlock>;
    return run(as(given.features), as(given.boxes), given.batch, weights, out, given.graphs, given.symbols,
               given.channels, {given.hidden, given.height, given.width}, call.stream);
  });
}

HMEG_ENTRY(kCuda, refine_layout, run, workspace);

}  // namespace
}  // namespace hmeg
