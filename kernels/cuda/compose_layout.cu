// compose_layout: masks (V, P) and features (V, C) -> layout (N, C, P), and the gradients of both.
//
// Forward: layout_tile.h. Backward: two products with the incoming gradient, one summed over channels (grad_masks), one
// over pixels (grad_features). Their blocks are mixed in one launch, expression by expression, so that the second of
// the two to read an expression's gradient finds it in the L2 cache. Every number has one owner: no atomics.
#include "compose_layout.h"

#include "device.h"
#include "dtypes.h"
#include "entry.h"
#include "expression.h"
#include "layout_tile.h"

namespace hmeg {
namespace {

template <typename T, int kPack>
struct StoredMasks {
  const T* masks;
  int64_t first, pixel, pixels;

  HMEG_DEVICE void stage(int64_t symbol, int) { first = symbol; }

  HMEG_DEVICE bool mask(int symbol, Accumulator<T> (&values)[kPack]) const {
    Pack<T, kPack> pack = {};
    if (pixel < pixels) pack = load_pack<kPack>(masks + (first + symbol) * pixels + pixel);
    HMEG_UNROLL
    for (int k = 0; k < kPack; ++k) values[k] = widen(pack.items[k]);
    return true;
  }
};

template <typename T, int kPack, int kBlock>
HMEG_KERNEL compose_layout_forward(const T* masks, const T* features, const int64_t* batch, T* layout,
                                   LayoutTiles tiles) {
  const LayoutPlace place = layout_place<kPack, kBlock>(tiles);
  const Symbols symbols = symbols_of(batch, tiles.symbols, place.graph);
  StoredMasks<T, kPack> source{masks, 0, place.pixel, tiles.pixels};
  paint_layout_tile<T, kPack, kBlock>(source, features, layout, place.graph, symbols, tiles, place.channel,
                                      place.pixel);
}

// The backward pass: symbols are taken kSymbols at a time, the last of them in fours.
struct BackwardTiles {
  int64_t symbols, channels, pixels;
  int64_t mask_blocks, feature_blocks;  // of one expression
};

constexpr int kFour = 4;

// grad_masks[v, p] = sum over c of features[v, c] * grad[c, p] for the expression's symbols, a thread for a pack of
// pixels.
template <typename T, int kPack, int kBlock>
HMEG_DEVICE void backward_masks(const T* grad, const T* features, T* grad_masks, Symbols symbols, int64_t block,
                                const BackwardTiles& tiles) {
  using A = Accumulator<T>;
  constexpr int kSymbols = kPack == 8 ? 8 : 16, kStaged = 64, kAhead = 4;
  constexpr int kRow = kSymbols + 4;  // padded: neighbouring channels lie in other banks
  HMEG_SHARED(A, staged, kStaged * kRow);
  const int64_t pixel = (block * kBlock + thread_index()) * kPack;
  const bool inside = pixel < tiles.pixels;
  for (int64_t first = symbols.begin; first < symbols.end; first += kSymbols) {
    const int count = static_cast<int>(symbols.end - first < kSymbols ? symbols.end - first : kSymbols);
    A sums[kSymbols][kPack] = {};
    for (int64_t channel = 0; channel < tiles.channels; channel += kStaged) {
      const int width = static_cast<int>(tiles.channels - channel < kStaged ? tiles.channels - channel : kStaged);
      sync_block();
      for (int item = thread_index(); item < kSymbols * kStaged; item += kBlock) {
        const int symbol = item / kStaged, c = item % kStaged;
        staged[c * kRow + symbol] =
            symbol < count && c < width ? widen(features[(first + symbol) * tiles.channels + channel + c]) : A(0);
      }
      sync_block();
      for (int c = 0; c < width; c += kAhead) {
        Pack<T, kPack> packs[kAhead] = {};
        HMEG_UNROLL
        for (int u = 0; u < kAhead; ++u) {
          if (inside && c + u < width) packs[u] = load_pack<kPack>(grad + (channel + c + u) * tiles.pixels + pixel);
        }
        HMEG_UNROLL
        for (int u = 0; u < kAhead; ++u) {
          A values[kPack];
          HMEG_UNROLL
          for (int k = 0; k < kPack; ++k) values[k] = widen(packs[u].items[k]);
          HMEG_UNROLL
          for (int four = 0; four < kSymbols; four += kFour) {
            if (four >= count) continue;
            HMEG_UNROLL
            for (int s = four; s < four + kFour; s += 16 / sizeof(A)) {
              const auto factors = load_shared<16 / sizeof(A)>(staged, (c + u) * kRow + s);
              HMEG_UNROLL
              for (int w = 0; w < int(16 / sizeof(A)); ++w) {
                HMEG_UNROLL
                for (int k = 0; k < kPack; ++k) sums[s + w][k] += factors.items[w] * values[k];
              }
            }
          }
        }
      }
    }
    HMEG_UNROLL
    for (int s = 0; s < kSymbols; ++s) {
      if (!inside || s >= count) continue;
      Pack<T, kPack> pack;
      HMEG_UNROLL
      for (int k = 0; k < kPack; ++k) pack.items[k] = narrow<T>(sums[s][k]);
      store_pack(grad_masks + (first + s) * tiles.pixels + pixel, pack);
    }
  }
}

// grad_features[v, c] = sum over p of masks[v, p] * grad[c, p] for the expression's symbols, a warp for kFour channels.
template <typename T, int kPack, int kBlock>
HMEG_DEVICE void backward_features(const T* grad, const T* masks, T* grad_features, Symbols symbols, int64_t block,
                                   const BackwardTiles& tiles) {
  using A = Accumulator<T>;
  constexpr int kSymbols = 16;
  const int64_t channel = (block * (kBlock / 32) + thread_index() / 32) * kFour;
  const int lane = thread_index() % 32;
  for (int64_t first = symbols.begin; first < symbols.end; first += kSymbols) {
    const int count = static_cast<int>(symbols.end - first < kSymbols ? symbols.end - first : kSymbols);
    A sums[kSymbols * kFour] = {};
    for (int64_t pixel = lane * kPack; pixel < tiles.pixels; pixel += 32 * kPack) {
      Pack<T, kPack> packs[kFour] = {};
      HMEG_UNROLL
      for (int c = 0; c < kFour; ++c) {
        if (channel + c < tiles.channels) packs[c] = load_pack<kPack>(grad + (channel + c) * tiles.pixels + pixel);
      }
      HMEG_UNROLL
      for (int four = 0; four < kSymbols; four += kFour) {
        if (four >= count) continue;
        Pack<T, kPack> mask[kFour] = {};
        HMEG_UNROLL
        for (int s = 0; s < kFour; ++s) {
          if (four + s < count) mask[s] = load_pack<kPack>(masks + (first + four + s) * tiles.pixels + pixel);
        }
        HMEG_UNROLL
        for (int s = 0; s < kFour; ++s) {
          HMEG_UNROLL
          for (int c = 0; c < kFour; ++c) {
            HMEG_UNROLL
            for (int k = 0; k < kPack; ++k) {
              sums[(four + s) * kFour + c] += widen(mask[s].items[k]) * widen(packs[c].items[k]);
            }
          }
        }
      }
    }
    warp_sum_scattered<kSymbols * kFour>(sums);
    HMEG_UNROLL
    for (int k = 0; k < kSymbols * kFour / 32; ++k) {
      const int number = kSymbols * kFour / 32 * lane + k, symbol = number / kFour;
      const int64_t to = channel + number % kFour;
      if (symbol < count && to < tiles.channels) {
        grad_features[(first + symbol) * tiles.channels + to] = narrow<T>(sums[k]);
      }
    }
  }
}

template <typename T, int kPack, int kBlock>
HMEG_KERNEL_FITTED(kBlock, (sizeof(T) == 8 ? 256 : 384) / kBlock)
compose_layout_backward(const T* grad_layout, const T* masks, const T* features, const int64_t* batch, T* grad_masks,
                        T* grad_features, BackwardTiles tiles) {
  const int64_t each = tiles.mask_blocks + tiles.feature_blocks;
  const int64_t graph = block_index() / each, block = block_index() % each;
  const Symbols symbols = symbols_of(batch, tiles.symbols, graph);
  const T* const grad = grad_layout + graph * tiles.channels * tiles.pixels;
  if (block < tiles.mask_blocks) {
    backward_masks<T, kPack, kBlock>(grad, features, grad_masks, symbols, block, tiles);
  } else {
    backward_features<T, kPack, kBlock>(grad, masks, grad_features, symbols, block - tiles.mask_blocks, tiles);
  }
}

template <int kPack, int kBlock>
BackwardTiles backward_tiles(int64_t symbols, int64_t channels, int64_t pixels) {
  constexpr int64_t kPixels = int64_t(kBlock) * kPack, kChannels = kBlock / 32 * kFour;
  return {symbols, channels, pixels, (pixels + kPixels - 1) / kPixels, (channels + kChannels - 1) / kChannels};
}

template <typename T, int kPack, int kBlock>
const char* launch_forward(const T* masks, const T* features, const int64_t* batch, T* layout, int64_t graphs,
                           const LayoutTiles& tiles, void* stream) {
  return launch<kBlock>(compose_layout_forward<T, kPack, kBlock>, tiles.blocks(graphs), stream, masks, features, batch,
                        layout, tiles);
}

template <typename T, int kPack, int kBlock>
const char* launch_backward(const T* grad_layout, const T* masks, const T* features, const int64_t* batch,
                            T* grad_masks, T* grad_features, int64_t graphs, const BackwardTiles& tiles, void* stream) {
  return launch<kBlock>(compose_layout_backward<T, kPack, kBlock>, graphs * (tiles.mask_blocks + tiles.feature_blocks),
                        stream, grad_layout, masks, features, batch, grad_masks, grad_features, tiles);
}

const char* run_forward(const ComposeLayoutForward& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kPack = 16 / sizeof(T), kLarge = 256, kSmall = 64;
    const auto run = [&](auto forward, const LayoutTiles& tiles) {
      return forward(static_cast<const T*>(given.masks), static_cast<const T*>(given.features), given.batch,
                     static_cast<T*>(given.layout), given.graphs, tiles, call.stream);
    };
    if (!packs_fit<kPack>(static_cast<const T*>(given.masks), given.pixels) ||
        !packs_fit<kPack>(static_cast<T*>(given.layout), given.pixels)) {
      return run(launch_forward<T, 1, kLarge>, layout_tiles<1, kLarge>(given.symbols, given.channels, given.pixels));
    }
    const LayoutTiles large = layout_tiles<kPack, kLarge>(given.symbols, given.channels, given.pixels);
    if (large.blocks(given.graphs) >= kFewBlocks) return run(launch_forward<T, kPack, kLarge>, large);
    return run(launch_forward<T, kPack, kSmall>,
               layout_tiles<kPack, kSmall>(given.symbols, given.channels, given.pixels));
  });
}

HMEG_ENTRY(kCuda, compose_layout_forward, run_forward);

const char* run_backward(const ComposeLayoutBackward& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kPack = 16 / sizeof(T), kLarge = 128, kSmall = 64;
    const auto run = [&](auto backward, const BackwardTiles& tiles) {
      return backward(static_cast<const T*>(given.grad_layout), static_cast<const T*>(given.masks),
                      static_cast<const T*>(given.features), given.batch, static_cast<T*>(given.grad_masks),
                      static_cast<T*>(given.grad_features), given.graphs, tiles, call.stream);
    };
    if (!packs_fit<kPack>(static_cast<const T*>(given.grad_layout), given.pixels) ||
        !packs_fit<kPack>(static_cast<const T*>(given.masks), given.pixels) ||
        !packs_fit<kPack>(static_cast<T*>(given.grad_masks), given.pixels)) {
      return run(launch_backward<T, 1, kLarge>, backward_tiles<1, kLarge>(given.symbols, given.channels, given.pixels));
    }
    const BackwardTiles large = backward_tiles<kPack, kLarge>(given.symbols, given.channels, given.pixels);
    if (given.graphs * (large.mask_blocks + large.feature_blocks) >= kFewBlocks) {
      return run(launch_backward<T, kPack, kLarge>, large);
    }
    return run(launch_backward<T, kPack, kSmall>,
               backward_tiles<kPack, kSmall>(given.symbols, given.channels, given.pixels));
  });
}

HMEG_ENTRY(kCuda, compose_layout_backward, run_backward);

}  // namespace
}  // namespace hmeg
