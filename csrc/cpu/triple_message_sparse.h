// How the driver in triple_message.cpp multiplies on any processor: products that pass over zeros, of the instruction
// sets in simd/triple_message_simd.h.
#pragma once

#include <vector>

#include "cpu/simd/triple_message_simd.h"
#include "cpu/triple_message_call.h"
#include "cpu/variants.h"
#include "workspace.h"

namespace hmeg::cpu {

// Panels, and blocks of depth.
template <typename T>
struct SparseSizes {
  int64_t width = 0, depth = 0;
  explicit SparseSizes(Variant variant) {
    HMEG_VARIANT_CALL(variant, triple_message_sizes, static_cast<const T*>(nullptr), &width, &depth);
  }
  int64_t panels(int64_t columns) const { return divided_up(columns, width); }
  int64_t blocks(int64_t rows) const { return divided_up(rows, depth); }
  int64_t panel() const { return width * depth; }
};

// Panels of B (rows, columns) with B[j, w] = from[j * by_row + w * by_column], one after another.
template <typename T>
struct Packing {
  const T* from;
  int64_t by_row, by_column, rows, columns;
  T* panels;
  int64_t stride;  // blocks from one panel of columns to the next
};

template <typename T>
int64_t pack_items(const SparseSizes<T>& sizes, const Packing<T>& packing) {
  return sizes.panels(packing.columns) * sizes.blocks(packing.rows);
}

template <typename T>
void pack_item(Variant chosen, const SparseSizes<T>& sizes, const Packing<T>& packing, int64_t item) {
  const int64_t blocks = sizes.blocks(packing.rows), panel = item / blocks, block = item % blocks;
  HMEG_VARIANT_CALL(chosen, triple_message_pack,
                    packing.from + block * sizes.depth * packing.by_row + panel * sizes.width * packing.by_column,
                    packing.by_row, packing.by_column, std::min(sizes.depth, packing.rows - block * sizes.depth),
                    packing.columns - panel * sizes.width,
                    packing.panels + (panel * packing.stride + block) * sizes.panel());
}

// What both passes have.
template <typename T>
struct SparseEngine {
  using Scalar = T;
  // Edges of a tile: their hidden activations take 1 MB at the published sizes.
  static constexpr int64_t kTile = 512;

  Variant variant;
  SparseSizes<T> sizes;
  MessageLayer<T> layer{};
  MessageTile<T> tile{};

  explicit SparseEngine(Variant chosen) : variant(chosen), sizes(chosen) {}

  std::vector<Packing<T>> packings;

  static int64_t capacity(const EdgeTiles& tiles) { return tiles.capacity; }

  int64_t pack_items() const {
    int64_t all = 0;
    for (const Packing<T>& packing : packings) all += cpu::pack_items(sizes, packing);
    return all;
  }
  void pack(int64_t item) const {
    for (const Packing<T>& packing : packings) {
      const int64_t own = cpu::pack_items(sizes, packing);
      if (item < own) return pack_item(variant, sizes, packing, item);
      item -= own;
    }
  }
  int64_t width() const { return sizes.width; }
  int64_t depth() const { return sizes.depth; }
  int64_t together() const { return 2; }  // edges that a product takes at once

  void hidden(int64_t begin, int64_t end, int64_t /*worker*/) const {
    HMEG_VARIANT_CALL(variant, triple_message_hidden, layer, tile, begin, end);
  }
};

template <typename T>
struct SparseForward : SparseEngine<T> {
  using SparseEngine<T>::sizes, SparseEngine<T>::layer, SparseEngine<T>::tile, SparseEngine<T>::variant;
  using SparseEngine<T>::packings;
  T *w1_panels, *w2_panels;
  bool packed;  // whether W2 is in w2_panels

  SparseForward(MessageWay way, Workspace& workspace, const MessageShape& shape, const EdgeTiles& tiles)
      : SparseEngine<T>(way.variant) {
    const int64_t node_panels = sizes.panels(shape.hidden), panels = 2 * node_panels + sizes.panels(shape.out);
    w1_panels = workspace.take<T>(shape.types ? 0 : node_panels * sizes.blocks(shape.channels) * sizes.panel());
    packed = by_ranges(shape, sizes.width) || tiles.count > 1;
    w2_panels = workspace.take<T>(packed ? panels * sizes.blocks(shape.hidden) * sizes.panel() : 0);
    tile.active = workspace.take<T>(node_panels * tiles.capacity * sizes.width);
    tile.bits = workspace.take<uint64_t>(sizes.blocks(node_panels * sizes.width) * tiles.capacity);
  }

  // What is to be packed: layer.w2, and w1 (rows w1_step apart).
  void plan_packing(const T* w1, int64_t w1_step) {
    const int64_t hidden = layer.hidden, blocks = sizes.blocks(hidden), node_panels = sizes.panels(hidden);
    if (layer.from_type == nullptr) {
      packings.push_back({w1, 1, w1_step, layer.channels, hidden, w1_panels, sizes.blocks(layer.channels)});
    }
    const int64_t first_rows[] = {0, layer.object_row, hidden}, widths[] = {hidden, hidden, layer.out};
    for (int part = 0; packed && part < 3; ++part) {
      packings.push_back({layer.w2 + first_rows[part] * hidden, 1, hidden, hidden, widths[part],
                          w2_panels + part * node_panels * blocks * sizes.panel(), blocks});
    }
    layer.w1_panels = w1_panels;
    layer.w2_panels = packed ? w2_panels : nullptr;
  }

  void outputs(int64_t panel, int64_t begin, int64_t end, T* to) const {
    HMEG_VARIANT_CALL(variant, triple_message_outputs, layer, tile, panel, begin, end, to);
  }
};

template <typename T>
struct SparseBackward : SparseEngine<T> {
  using SparseEngine<T>::sizes, SparseEngine<T>::layer, SparseEngine<T>::tile, SparseEngine<T>::variant;
  using SparseEngine<T>::packings;
  MessageGrad<T> grad{};
  T *w1_panels, *w1_columns, *w2_panels, *edge_rows;
  bool packed;  // whether W2 is in w2_panels

  SparseBackward(MessageWay way, Workspace& workspace, const MessageShape& shape, const EdgeTiles& tiles)
      : SparseEngine<T>(way.variant) {
    const int64_t hidden = shape.hidden, columns = 2 * hidden + shape.out, own = shape.types ? 0 : shape.channels;
    const int64_t panels = sizes.panels(hidden), chunks = sizes.blocks(tiles.capacity);
    w1_panels = workspace.take<T>(panels * sizes.blocks(own) * sizes.panel());
    w1_columns = workspace.take<T>(sizes.panels(own) * sizes.blocks(hidden) * sizes.panel());
    packed = tiles.capacity > 2 * kMessageRange;
    w2_panels = workspace.take<T>(packed ? panels * w2_blocks(shape.hidden, shape.out) * sizes.panel() : 0);
    tile.active = workspace.take<T>(panels * tiles.capacity * sizes.width);
    grad.grad_active = workspace.take<T>(panels * tiles.capacity * sizes.width);
    grad.products = workspace.take<T>(chunks * columns * sizes.depth);
    grad.product_sums = workspace.take<T>(chunks * columns);
    grad.attr = workspace.take<T>(chunks * own * sizes.depth);
    edge_rows = workspace.take<T>(shape.types ? 0 : shape.threads * sizes.panel());
    tile.bits = workspace.take<uint64_t>(sizes.blocks(panels * sizes.width) * tiles.capacity);
    grad.product_bits = workspace.take<uint64_t>(chunks * columns);
    grad.attr_bits = workspace.take<uint64_t>(chunks * own);
  }

  int64_t w2_blocks(int64_t hidden, int64_t out) const { return 2 * sizes.blocks(hidden) + sizes.blocks(out); }

  void plan_packing(const T* w1, int64_t w1_step) {
    const int64_t hidden = layer.hidden, channels = layer.channels, blocks = sizes.blocks(hidden);
    if (layer.from_type == nullptr) {
      packings.push_back({w1, 1, w1_step, channels, hidden, w1_panels, sizes.blocks(channels)});
      packings.push_back({w1, w1_step, 1, hidden, channels, w1_columns, blocks});
    }
    const int64_t first_rows[] = {0, layer.object_row, hidden}, widths[] = {hidden, hidden, layer.out};
    for (int part = 0; packed && part < 3; ++part) {
      packings.push_back({layer.w2 + first_rows[part] * hidden, hidden, 1, widths[part], hidden,
                          w2_panels + part * blocks * sizes.panel(), w2_blocks(hidden, layer.out)});
    }
    layer.w1_panels = w1_panels;
    layer.w2_panels = packed ? w2_panels : nullptr;
    grad.w1_panels = w1_columns;
  }

  void unpool(int64_t chunk) const { HMEG_VARIANT_CALL(variant, triple_message_unpool, layer, tile, grad, chunk); }

  // By panels of columns and ranges of edges.
  int64_t active_items() const { return sizes.panels(layer.hidden) * divided_up(tile.edges, kMessageRange); }
  void grad_active(int64_t item) const {
    const int64_t ranges = divided_up(tile.edges, kMessageRange), begin = item % ranges * kMessageRange;
    HMEG_VARIANT_CALL(variant, triple_message_grad_active, layer, tile, grad, item / ranges, begin,
                      std::min(begin + kMessageRange, tile.edges));
  }

  // By panels of columns and parts of W2.
  int64_t w2_items() const { return 3 * sizes.panels(layer.hidden); }
  void grad_w2(int64_t item) const {
    const int64_t panels = sizes.panels(layer.hidden);
    HMEG_VARIANT_CALL(variant, triple_message_grad_w2, layer, tile, grad, item % panels, item / panels);
  }

  int64_t w1_items() const { return sizes.panels(layer.hidden); }
  void grad_w1(int64_t item) const { HMEG_VARIANT_CALL(variant, triple_message_grad_w1, layer, tile, grad, item); }
  void grad_edge_attr(int64_t begin, int64_t end, int64_t worker) const {
    HMEG_VARIANT_CALL(variant, triple_message_grad_edge_attr, layer, tile, grad, begin, end,
                      edge_rows + worker * sizes.panel());
  }
};

}  // namespace hmeg::cpu
