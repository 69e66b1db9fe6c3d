// The parts of triple_message that multiply, for processors with a matrix unit: float32 in one, two or three parts of
// bfloat16 (tiles.h). Beside them stand the other parts, those of simd/triple_message_simd.h for AVX-512, with the
// structures described there.
#pragma once

#include <cstdint>

#include "cpu/simd/triple_message_simd.h"

namespace hmeg::amx {

constexpr int64_t kMessageChunk = 64;   // edges that become factors at once
constexpr int64_t kMessageWidth = 128;  // columns of a panel

// How a tile of edges and what all tiles share lie in memory, as factors. "Depth blocks" are blocks of 32; every
// factor has `parts` tiles for each of them, its blocks of 16 rows (left) or columns (right) after one another.
struct MessageFactors {
  int64_t parts;
  uint16_t* w1;       // right (C, K): of the edges' part of W1, transposed; unused with types
  uint16_t* w1_back;  // right (K, C): the same, not transposed
  // Forward: right (K, columns), the columns of each part of W2 beginning a panel. Backward: right (2 K + C', K), each
  // part beginning a depth block.
  uint16_t* w2;
  // Forward: left (edges, K), the hidden activations. Backward: right (edges, K), and bits of which are not zero.
  uint16_t* hidden;
  uint32_t* active;        // (capacity, K / 32)
  uint16_t* grad_rows;     // left (edges, 2 K + C'): gradients of W2's outputs, each part beginning a depth block
  uint16_t* grad_columns;  // left (2 K + C', edges), each part beginning a block of 32
  uint16_t* attr_columns;  // left (C, edges)
  uint16_t* active_rows;   // left (edges, K): gradients of the hidden activations
  uint16_t* active_pairs;  // right (edges, K): the same
  int64_t edge_blocks;     // depth blocks of edges of a tile: its capacity / 32
};

// Numbers of scratch that `hidden` takes.
int64_t hidden_scratch(int64_t channels, int64_t hidden);

// `hidden` and, backward, active and attr_columns, of edges [begin, end) of the tile: begin begins a chunk, end ends it
// or the tile.
void message_hidden(const MessageLayer<float>& layer, const MessageTile<float>& tile, const MessageFactors& factors,
                    bool backward, int64_t begin, int64_t end, float* scratch);

// to (end - begin, panel) = W2's outputs of edges [begin, end), one panel of w2. Rows up to the next multiple of 32 are
// written too, and begin is one.
void message_outputs(const MessageLayer<float>& layer, const MessageFactors& factors, int64_t panel, int64_t begin,
                     int64_t end, float* to);

// grad_rows, grad_columns and grad.product_sums, of one chunk.
void message_unpool(const MessageLayer<float>& layer, const MessageTile<float>& tile, const MessageGrad<float>& grad,
                    const MessageFactors& factors, int64_t chunk);

// Columns [first, last) of grad.grad_active and, unless there are types, of active_rows and active_pairs, of edges
// [begin, end); first begins a panel, and edges are as for message_outputs.
void message_grad_active(const MessageLayer<float>& layer, const MessageGrad<float>& grad,
                         const MessageFactors& factors, int64_t capacity, int64_t first, int64_t last, int64_t begin,
                         int64_t end);

// Rows [begin, end) of one part of for_w2, 0 subject, 1 object, 2 edge, and columns [first, last); both begin a block.
// And such columns of for_w1.
void message_grad_w2(const MessageLayer<float>& layer, const MessageGrad<float>& grad, const MessageFactors& factors,
                     int64_t edges, int64_t part, int64_t begin, int64_t end, int64_t first, int64_t last);
void message_grad_w1(const MessageLayer<float>& layer, const MessageGrad<float>& grad, const MessageFactors& factors,
                     int64_t edges, int64_t first, int64_t last);

// for_edge_attr of edges [begin, end), begin a multiple of 32.
void message_grad_edge_attr(const MessageLayer<float>& layer, const MessageGrad<float>& grad,
                            const MessageFactors& factors, int64_t begin, int64_t end);

}  // namespace hmeg::amx
