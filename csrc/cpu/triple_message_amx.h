// How the driver in triple_message.cpp multiplies float32 on a processor with a matrix unit: amx/triple_message_amx.h.
// What does not multiply is that of AVX-512, with its panels.
#pragma once

#ifdef HMEG_WITH_AMX

#include <vector>

#include "cpu/amx/factors.h"
#include "cpu/amx/triple_message_amx.h"
#include "cpu/triple_message_call.h"
#include "cpu/variants.h"
#include "workspace.h"

namespace hmeg::cpu {

struct AmxEngine {
  using Scalar = float;
  // Edges of a tile: their gradients as factors, 14 KB an edge at the published sizes, are to stay near the processor.
  static constexpr int64_t kTile = 512;

  Variant variant = kAvx512;
  MessageLayer<float> layer{};
  MessageTile<float> tile{};
  amx::MessageFactors factors{};
  float* scratch = nullptr;
  int64_t scratch_of_worker = 0;

  static int64_t capacity(const EdgeTiles& tiles) { return rounded_up(tiles.capacity, amx::kFactorBlock); }
  int64_t width() const { return amx::kMessageWidth; }
  int64_t depth() const { return amx::kMessageChunk; }
  int64_t together() const { return amx::kFactorBlock; }  // edges that a product takes at once

 protected:
  static int64_t blocks(int64_t count) { return divided_up(count, amx::kFactorBlock); }
  static int64_t panels(int64_t columns) { return divided_up(columns, amx::kMessageWidth); }

  // A factor of `blocks` blocks of 32 rows or columns, `depth` blocks deep.
  uint16_t* factor(Workspace& workspace, int64_t across, int64_t depth) const {
    return workspace.take<uint16_t>(2 * across * depth * factors.parts * amx::kFactorNumbers);
  }

  void plan(MessageWay way, Workspace& workspace, const MessageShape& shape, const EdgeTiles& tiles) {
    factors.parts = way.parts;
    factors.edge_blocks = blocks(capacity(tiles));
    scratch_of_worker = amx::hidden_scratch(shape.types ? 0 : shape.channels, shape.hidden);
    scratch = workspace.take<float>(shape.threads * scratch_of_worker);
    if (!shape.types) factors.w1 = factor(workspace, blocks(shape.hidden), blocks(shape.channels));
  }

  // A matrix B (rows, columns) with B[j, w] = from[j * by_row + w * by_column], and where it lies as a right factor:
  // from `to` on, `depth` blocks deep, beginning with block `first` of its depth.
  struct Packing {
    const float* from;
    int64_t by_row, by_column, rows, columns;
    uint16_t* to;
    int64_t depth, first;
  };

  std::vector<Packing> packings;

 public:
  // By 32 columns of the right factors.
  int64_t pack_items() const {
    int64_t all = 0;
    for (const Packing& packing : packings) all += blocks(packing.columns);
    return all;
  }
  void pack(int64_t item) const {
    const int64_t block = factors.parts * amx::kFactorNumbers;
    for (const Packing& packing : packings) {
      if (item < blocks(packing.columns)) {
        const int64_t column = item * amx::kFactorBlock, step = packing.depth * block;
        amx::pack(factors.parts, amx::Side::kRight, packing.from + column * packing.by_column, packing.by_row,
                  packing.by_column, packing.rows, packing.columns - column,
                  packing.to + 2 * item * step + packing.first * block, step);
        return;
      }
      item -= blocks(packing.columns);
    }
  }
};

struct AmxForward : AmxEngine {
  AmxForward(MessageWay way, Workspace& workspace, const MessageShape& shape, const EdgeTiles& tiles) {
    plan(way, workspace, shape, tiles);
    const int64_t columns = 2 * panels(shape.hidden) + panels(shape.out);
    factors.w2 = factor(workspace, columns * amx::kMessageWidth / amx::kFactorBlock, blocks(shape.hidden));
    factors.hidden = factor(workspace, factors.edge_blocks, blocks(shape.hidden));
  }

  void plan_packing(const float* w1, int64_t w1_step) {
    const int64_t hidden = layer.hidden, depth = blocks(hidden), channels = layer.channels, own = layer.object_row;
    const int64_t part =
        panels(hidden) * amx::kMessageWidth / amx::kFactorBlock * factors.parts * 2 * depth * amx::kFactorNumbers;
    packings = {{w1, 1, w1_step, channels, layer.from_type == nullptr ? hidden : 0, factors.w1, blocks(channels), 0},
                {layer.w2, 1, hidden, hidden, hidden, factors.w2, depth, 0},
                {layer.w2 + own * hidden, 1, hidden, hidden, hidden, factors.w2 + part, depth, 0},
                {layer.w2 + hidden * hidden, 1, hidden, hidden, layer.out, factors.w2 + 2 * part, depth, 0}};
  }

  void hidden(int64_t begin, int64_t end, int64_t worker) const {
    amx::message_hidden(layer, tile, factors, false, begin, end, scratch + worker * scratch_of_worker);
  }
  void outputs(int64_t panel, int64_t begin, int64_t end, float* to) const {
    amx::message_outputs(layer, factors, panel, begin, end, to);
  }
};

struct AmxBackward : AmxEngine {
  // Columns whose right factor stays near the processor while left ones go by.
  static constexpr int64_t kWide = 256;

  MessageGrad<float> grad{};
  int64_t threads;

  AmxBackward(MessageWay way, Workspace& workspace, const MessageShape& shape, const EdgeTiles& tiles)
      : threads(shape.threads) {
    plan(way, workspace, shape, tiles);
    const int64_t hidden = blocks(shape.hidden), edges = factors.edge_blocks, columns = 2 * shape.hidden + shape.out;
    const int64_t outputs = 2 * hidden + blocks(shape.out), chunks = divided_up(capacity(tiles), amx::kMessageChunk);
    factors.w2 = factor(workspace, hidden, outputs);
    factors.hidden = factor(workspace, hidden, edges);
    factors.active = workspace.take<uint32_t>(capacity(tiles) * hidden);
    factors.grad_rows = factor(workspace, edges, outputs);
    factors.grad_columns = factor(workspace, outputs, edges);
    grad.product_sums = workspace.take<float>(chunks * columns);
    grad.grad_active = workspace.take<float>(panels(shape.hidden) * capacity(tiles) * amx::kMessageWidth);
    if (shape.types) return;
    factors.w1_back = factor(workspace, blocks(shape.channels), hidden);
    factors.attr_columns = factor(workspace, blocks(shape.channels), edges);
    factors.active_rows = factor(workspace, edges, hidden);
    factors.active_pairs = factor(workspace, hidden, edges);
  }

  void plan_packing(const float* w1, int64_t w1_step) {
    const int64_t hidden = layer.hidden, channels = layer.channels, own = layer.object_row, out = layer.out;
    const int64_t depth = 2 * blocks(hidden) + blocks(out), edges = layer.from_type == nullptr ? 1 : 0;
    packings = {{w1, 1, w1_step, channels, edges * hidden, factors.w1, blocks(channels), 0},
                {w1, w1_step, 1, hidden, edges * channels, factors.w1_back, blocks(hidden), 0},
                {layer.w2, hidden, 1, hidden, hidden, factors.w2, depth, 0},
                {layer.w2 + own * hidden, hidden, 1, hidden, hidden, factors.w2, depth, blocks(hidden)},
                {layer.w2 + hidden * hidden, hidden, 1, out, hidden, factors.w2, depth, 2 * blocks(hidden)}};
  }

  void hidden(int64_t begin, int64_t end, int64_t worker) const {
    amx::message_hidden(layer, tile, factors, true, begin, end, scratch + worker * scratch_of_worker);
  }
  int64_t wide_panels() const { return divided_up(layer.hidden, kWide); }
  int64_t row_ranges(int64_t rows) const { return divided_up(rows, kMessageRange); }
  int64_t range() const { return threads > wide_panels() ? kMessageRange : tile.capacity; }

  void unpool(int64_t chunk) const { amx::message_unpool(layer, tile, grad, factors, chunk); }

  // By wide panels of columns and ranges of edges: all of a tile, where that is work for every thread.
  int64_t active_items() const { return wide_panels() * divided_up(tile.edges, range()); }
  void grad_active(int64_t item) const {
    const int64_t ranges = divided_up(tile.edges, range()), begin = item % ranges * range();
    amx::message_grad_active(layer, grad, factors, tile.capacity, item / ranges * kWide,
                             std::min((item / ranges + 1) * kWide, layer.hidden), begin,
                             std::min(begin + range(), tile.edges));
  }

  // By wide panels of columns and ranges of rows, each in one part of W2.
  int64_t w2_items() const { return wide_panels() * (2 * row_ranges(layer.hidden) + row_ranges(layer.out)); }
  void grad_w2(int64_t item) const {
    const int64_t own = row_ranges(layer.hidden), ranges = 2 * own + row_ranges(layer.out);
    const int64_t range = item % ranges, part = range < 2 * own ? range / own : 2, column = item / ranges * kWide;
    const int64_t row = (range - part * own) * kMessageRange, width = part < 2 ? layer.hidden : layer.out;
    amx::message_grad_w2(layer, grad, factors, tile.edges, part, row, std::min(row + kMessageRange, width), column,
                         std::min(column + kWide, layer.hidden));
  }

  int64_t w1_items() const { return panels(layer.hidden); }
  void grad_w1(int64_t item) const {
    const int64_t column = item * amx::kMessageWidth;
    amx::message_grad_w1(layer, grad, factors, tile.edges, column, std::min(column + amx::kMessageWidth, layer.hidden));
  }
  void grad_edge_attr(int64_t begin, int64_t end, int64_t /*worker*/) const {
    amx::message_grad_edge_attr(layer, grad, factors, begin, end);
  }
};

}  // namespace hmeg::cpu

#endif
