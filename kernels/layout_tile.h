// The product at the heart of compose_layout and box_layout: a tile of one expression's layout is the sum over its
// symbols of mask x features.
//
// A warp owns 32 packs of pixels and kTileChannels channels, its sums stay in registers, and every number of the layout
// is written once. The warps of a block that share their pixels read the same masks at the same time, from the L1
// cache; features wait in shared memory. Where the masks come from is the caller's business (Source).
#pragma once

#include "device.h"
#include "expression.h"

namespace hmeg {

// Symbols whose features wait in shared memory at a time.
constexpr int kTileSymbols = 16;

// Channels of a warp; with packs of 16 bytes a thread has 64 sums in float32, 32 in float64, 64 in float16.
template <int kPack>
constexpr int kTileChannels = kPack == 8 ? 8 : 16;

// How blocks share out layouts (N, C, P).
struct LayoutTiles {
  int64_t symbols, channels, pixels;
  int64_t pixel_tiles, channel_tiles;
  int log_channels;  // log2 of the channels of a block, at most kBlock / 32 warps' own

  int64_t blocks(int64_t graphs) const { return graphs * channel_tiles * pixel_tiles; }
};

template <int kPack, int kBlock>
LayoutTiles layout_tiles(int64_t symbols, int64_t channels, int64_t pixels) {
  LayoutTiles tiles{symbols, channels, pixels, 0, 0, kPack == 8 ? 3 : 4};
  int across = 1;  // warps side by side in the channels; the others go on in the pixels
  while (across < kBlock / 32 && across * kTileChannels<kPack> < channels) across *= 2, ++tiles.log_channels;
  const int64_t tile = int64_t(kBlock / across) * kPack, width = int64_t(1) << tiles.log_channels;
  tiles.pixel_tiles = (pixels + tile - 1) / tile;
  tiles.channel_tiles = (channels + width - 1) / width;
  return tiles;
}

// Source: void stage(first, count), called by all threads of the block before any mask of these symbols is asked for,
// between two barriers; bool mask(s, values), the pack of masks of symbol first + s at this thread's pixels, false
// where a whole warp's are zero.
template <typename T, int kPack, int kBlock, typename Source>
HMEG_DEVICE void paint_layout_tile(Source& source, const T* features, T* layout, int64_t graph, Symbols symbols,
                                   const LayoutTiles& tiles, int64_t first_channel, int64_t pixel) {
  using A = Accumulator<T>;
  constexpr int kChannels = kTileChannels<kPack>;
  constexpr int kWide = 16 / sizeof(A);
  constexpr int kAhead = 4;  // symbols whose masks are on their way at once
  HMEG_SHARED(A, staged, kTileSymbols * kBlock / 32 * kChannels);
  const int width = 1 << tiles.log_channels;
  const int offset = thread_index() / 32 * kChannels & (width - 1);  // of this warp's channels in the block's
  A sums[kChannels][kPack] = {};
  for (int64_t first = symbols.begin; first < symbols.end; first += kTileSymbols) {
    const int count = static_cast<int>(symbols.end - first < kTileSymbols ? symbols.end - first : kTileSymbols);
    sync_block();
    for (int item = thread_index(); item < count << tiles.log_channels; item += kBlock) {
      const int64_t channel = first_channel + (item & (width - 1));
      staged[item] = channel < tiles.channels
                         ? widen(features[(first + (item >> tiles.log_channels)) * tiles.channels + channel])
                         : A(0);
    }
    source.stage(first, count);
    sync_block();
    for (int symbol = 0; symbol < count; symbol += kAhead) {
      A masks[kAhead][kPack];
      bool painted[kAhead];
      HMEG_UNROLL
      for (int u = 0; u < kAhead; ++u) painted[u] = symbol + u < count && source.mask(symbol + u, masks[u]);
      HMEG_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        if (!painted[u]) continue;
        HMEG_UNROLL
        for (int c = 0; c < kChannels; c += kWide) {
          const auto factors = load_shared<kWide>(staged, ((symbol + u) << tiles.log_channels) + offset + c);
          HMEG_UNROLL
          for (int w = 0; w < kWide; ++w) {
            HMEG_UNROLL
            for (int k = 0; k < kPack; ++k) sums[c + w][k] += factors.items[w] * masks[u][k];
          }
        }
      }
    }
  }
  if (pixel >= tiles.pixels) return;
  HMEG_UNROLL
  for (int c = 0; c < kChannels; ++c) {
    const int64_t channel = first_channel + offset + c;
    if (channel >= tiles.channels) return;
    Pack<T, kPack> pack;
    HMEG_UNROLL
    for (int k = 0; k < kPack; ++k) pack.items[k] = narrow<T>(sums[c][k]);
    store_pack(layout + (graph * tiles.channels + channel) * tiles.pixels + pixel, pack);
  }
}

// Where in the layouts this thread paints.
struct LayoutPlace {
  int64_t graph, channel, pixel;  // the block's first channel; the thread's first pixel
};

template <int kPack, int kBlock>
HMEG_DEVICE LayoutPlace layout_place(const LayoutTiles& tiles) {
  constexpr int kLogChannels = kPack == 8 ? 3 : 4;
  const int across = 1 << (tiles.log_channels - kLogChannels), warp = thread_index() / 32;
  const int64_t tile = block_index() % tiles.pixel_tiles, rest = block_index() / tiles.pixel_tiles;
  const int64_t down = tile * (kBlock / 32 / across) + warp / across;
  return {rest / tiles.channel_tiles, (rest % tiles.channel_tiles) << tiles.log_channels,
          (down * 32 + thread_index() % 32) * kPack};
}

}  // namespace hmeg
