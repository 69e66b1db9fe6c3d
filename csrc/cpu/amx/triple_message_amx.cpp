// Compiled for processors with AVX-512 and AMX only; see triple_message_amx.h.
#include "cpu/amx/triple_message_amx.h"

#include "cpu/amx/factor_tiles.h"
#include "triple_message.h"

namespace hmeg::amx {
namespace {

static_assert(kMessageChunk % kBlock == 0 && kMessageWidth % kBlock == 0);

inline int64_t panels_of(int64_t columns) { return (columns + kMessageWidth - 1) / kMessageWidth; }

// Written so that NaN falls through.
inline __m512 relu(__m512 value) { return _mm512_max_ps(_mm512_setzero_ps(), value); }

// One part of W2's outputs in the backward pass.
struct Output {
  const float* grad;   // its gradients, were all outputs positive
  const int64_t* row;  // which row of them an edge has; null: its own
  int64_t width;
  int64_t column;     // first column within product_sums
  int64_t block;      // first block of 32
  int64_t word;       // first word of signs
  int64_t first_row;  // of W2
};

inline Output output_of(const MessageLayer<float>& layer, const MessageTile<float>* tile,
                        const MessageGrad<float>& grad, int64_t part) {
  const int64_t width = layer.hidden, blocks = blocks_of(width);
  if (part == 0) return {grad.grad_pooled, tile ? tile->subject : nullptr, width, 0, 0, 0, 0};
  if (part == 1) {
    return {grad.grad_pooled, tile ? tile->object : nullptr, width, width, blocks, blocks, layer.object_row};
  }
  return {grad.grad_edges, nullptr, layer.out, 2 * width, 2 * blocks, 2 * blocks, width};
}

template <int kParts>
void hidden(const MessageLayer<float>& layer, const MessageTile<float>& tile, const MessageFactors& factors,
            bool backward, int64_t begin, int64_t end, float* scratch) {
  const int64_t width = layer.hidden, blocks = blocks_of(width), step = blocks * kBlock;
  const int64_t depth = blocks_of(layer.channels), across = depth * kParts * kTile;
  const int64_t along = factors.edge_blocks * kParts * kTile;  // between blocks of what has edges as its depth
  float* const made = scratch;                                 // (32, K) of W1's products with edges
  Part* const attr = reinterpret_cast<Part*>(scratch + kBlock * step);
  alignas(64) Part rows[2 * kParts * kTile];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t count = smaller(kBlock, end - first), edge_block = first / kBlock * kParts * kTile;
    const bool types = layer.from_type != nullptr;
    if (!types) {
      for (int64_t block = 0; block < depth; ++block) {
        const int64_t column = block * kBlock;
        Part* const to = attr + block * kParts * kTile;
        const auto row = [&](int64_t e) { return tile.edge_attr + (first + e) * layer.channels + column; };
        split_rows<kParts>(row, count, layer.channels - column, to, across);
        if (backward) keep_left<kParts>(to, across, factors.attr_columns + 2 * block * along + edge_block, along);
      }
      const TileRegisters registers;
      for (int64_t block = 0; block < blocks; ++block) {
        multiply_block<kParts>(false, attr, across, factors.w1 + 2 * block * across, across, depth,
                               made + block * kBlock, step);
      }
    }
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t column = block * kBlock;
      const __mmask16 low = first_lanes(width - column), high = first_lanes(width - column - 16);
      Part* const to = backward ? rows : factors.hidden + (first / kSide * blocks + block) * kParts * kTile;
      const int64_t below = backward ? kParts * kTile : blocks * kParts * kTile;
      for (int64_t e = 0; e < count; ++e) {
        const float* const a = layer.from_subject + tile.subject[first + e] * width + column;
        const float* const b = layer.from_object + tile.object[first + e] * width + column;
        const float* const own =
            types ? layer.from_type + tile.type[first + e] * width + column : made + e * step + column;
        const __m512 left =
            relu(_mm512_maskz_loadu_ps(low, a) + _mm512_maskz_loadu_ps(low, b) + _mm512_maskz_loadu_ps(low, own));
        const __m512 right = relu(_mm512_maskz_loadu_ps(high, a + 16) + _mm512_maskz_loadu_ps(high, b + 16) +
                                  _mm512_maskz_loadu_ps(high, own + 16));
        split_row<kParts>(left, right, row_of(to, below, e));
        if (!backward) continue;
        factors.active[(first + e) * blocks + block] =
            uint32_t(_mm512_cmp_ps_mask(left, _mm512_setzero_ps(), _CMP_NEQ_UQ)) |
            uint32_t(_mm512_cmp_ps_mask(right, _mm512_setzero_ps(), _CMP_NEQ_UQ)) << 16;
      }
      for (int64_t e = count; e < kBlock; ++e) clear_row<kParts>(row_of(to, below, e));
      if (backward) keep_right<kParts>(rows, below, factors.hidden + 2 * block * along + edge_block, along);
    }
  }
}

template <int kParts>
void outputs(const MessageLayer<float>& layer, const MessageFactors& factors, int64_t panel, int64_t begin, int64_t end,
             float* to) {
  const int64_t width = layer.hidden, depth = blocks_of(width), across = depth * kParts * kTile;
  const int64_t node_panels = panels_of(width), part = panel < 2 * node_panels ? panel / node_panels : 2;
  const int64_t first = (panel - part * node_panels) * kMessageWidth;
  const int64_t columns = smaller(kMessageWidth, (part < 2 ? width : layer.out) - first);
  const Part* const w2 = factors.w2 + panel * (kMessageWidth / kSide) * across;
  const TileRegisters registers;
  for (int64_t e = begin; e < end; e += kBlock) {
    for (int64_t column = 0; column < columns; column += kBlock) {
      multiply_block<kParts>(false, factors.hidden + e / kSide * across, across, w2 + column / kSide * across, across,
                             depth, to + (e - begin) * kMessageWidth + column, kMessageWidth);
    }
  }
}

template <int kParts>
void unpool(const MessageLayer<float>& layer, const MessageTile<float>& tile, const MessageGrad<float>& grad,
            const MessageFactors& factors, int64_t chunk) {
  const int64_t begin = chunk * kMessageChunk, end = smaller(begin + kMessageChunk, tile.edges);
  const int64_t width = layer.hidden, words = 2 * blocks_of(width) + blocks_of(layer.out);
  const int64_t across = words * kParts * kTile, along = factors.edge_blocks * kParts * kTile;
  for (int64_t p = 0; p < 3; ++p) {
    const Output output = output_of(layer, &tile, grad, p);
    for (int64_t column = 0; column < output.width; column += kBlock) {
      const int64_t block = output.block + column / kBlock;
      const int32_t* const signs = grad.signs + output.word + column / kBlock;
      __m512 low_sum = _mm512_setzero_ps(), high_sum = _mm512_setzero_ps();
      for (int64_t first = begin; first < end; first += kBlock) {
        Part* const to = factors.grad_rows + (first / kSide * words + block) * kParts * kTile;
        for (int64_t e = first; e < first + kBlock; ++e) {
          Part* const row = row_of(to, across, e - first);
          if (e >= end) {
            clear_row<kParts>(row);
            continue;
          }
          const uint32_t sign = uint32_t(signs[e * words]);
          const float* const from = output.grad + (output.row == nullptr ? e : output.row[e]) * output.width + column;
          const __m512 low = _mm512_maskz_loadu_ps(__mmask16(sign), from);
          const __m512 high = _mm512_maskz_loadu_ps(__mmask16(sign >> 16), from + 16);
          low_sum += low;
          high_sum += high;
          split_row<kParts>(low, high, row);
        }
        keep_left<kParts>(to, across, factors.grad_columns + 2 * block * along + first / kBlock * kParts * kTile,
                          along);
      }
      float* const sums = grad.product_sums + chunk * (2 * width + layer.out) + output.column + column;
      _mm512_mask_storeu_ps(sums, first_lanes(output.width - column), low_sum);
      _mm512_mask_storeu_ps(sums + 16, first_lanes(output.width - column - 16), high_sum);
    }
  }
}

// Blocks of depth whose factors, of 256 columns and of some rows, stay near the processor.
constexpr int64_t kDepthBlocks = 12;

template <int kParts>
void grad_active(const MessageLayer<float>& layer, const MessageGrad<float>& grad, const MessageFactors& factors,
                 int64_t capacity, int64_t first_column, int64_t last_column, int64_t begin, int64_t end) {
  const int64_t width = layer.hidden, blocks = blocks_of(width), words = 2 * blocks + blocks_of(layer.out);
  const int64_t across = words * kParts * kTile, along = factors.edge_blocks * kParts * kTile;
  const bool keep = layer.from_type == nullptr;
  const TileRegisters registers;
  for (int64_t depth = 0; depth < words; depth += kDepthBlocks) {
    const int64_t deep = smaller(kDepthBlocks, words - depth), from = depth * kParts * kTile;
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t count = smaller(kBlock, end - first);
      for (int64_t column = first_column; column < last_column; column += kBlock) {
        float* const made =
            grad.grad_active + (column / kMessageWidth * capacity + first) * kMessageWidth + column % kMessageWidth;
        multiply_block<kParts>(depth > 0, factors.grad_rows + first / kSide * across + from, across,
                               factors.w2 + column / kSide * across + from, across, deep, made, kMessageWidth);
        if (depth + deep < words) continue;
        const int64_t block = column / kBlock, below = blocks * kParts * kTile;
        Part* const rows = factors.active_rows + (first / kSide * blocks + block) * kParts * kTile;
        for (int64_t e = 0; e < count; ++e) {
          const uint32_t active = factors.active[(first + e) * blocks + block];
          float* const row = made + e * kMessageWidth;
          const __m512 low = _mm512_maskz_loadu_ps(__mmask16(active), row);
          const __m512 high = _mm512_maskz_loadu_ps(__mmask16(active >> 16), row + 16);
          _mm512_storeu_ps(row, low);
          _mm512_storeu_ps(row + 16, high);
          if (keep) split_row<kParts>(low, high, row_of(rows, below, e));
        }
        if (!keep) continue;
        for (int64_t e = count; e < kBlock; ++e) clear_row<kParts>(row_of(rows, below, e));
        keep_right<kParts>(rows, below, factors.active_pairs + 2 * block * along + first / kBlock * kParts * kTile,
                           along);
      }
    }
  }
}

// out = (add ? out : 0) + left right, of so many rows and columns, with edges as their depth.
template <int kParts>
void multiply_edges(bool add, const Part* left, int64_t rows, const Part* right, int64_t columns, int64_t edges,
                    int64_t along, float* out, int64_t step) {
  const TileRegisters registers;
  for (int64_t row = 0; row < rows; row += kBlock) {
    for (int64_t column = 0; column < columns; column += kBlock) {
      multiply_part<kParts>(add, left + row / kSide * along, along, right + column / kSide * along, along,
                            blocks_of(edges), out + row * step + column, step, rows - row, columns - column);
    }
  }
}

template <int kParts>
void grad_edge_attr(const MessageLayer<float>& layer, const MessageGrad<float>& grad, const MessageFactors& factors,
                    int64_t begin, int64_t end) {
  const int64_t depth = blocks_of(layer.hidden), across = depth * kParts * kTile;
  const TileRegisters registers;
  for (int64_t first = begin; first < end; first += kBlock) {
    for (int64_t column = 0; column < layer.channels; column += kBlock) {
      multiply_part<kParts>(false, factors.active_rows + first / kSide * across, across,
                            factors.w1_back + column / kSide * across, across, depth,
                            grad.for_edge_attr + first * layer.channels + column, layer.channels, end - first,
                            layer.channels - column);
    }
  }
}

}  // namespace

int64_t hidden_scratch(int64_t channels, int64_t hidden) {
  constexpr int64_t kPartsAtMost = 3, kFloats = kTile * int64_t(sizeof(Part)) / int64_t(sizeof(float));
  return kBlock * blocks_of(hidden) * kBlock + 2 * blocks_of(channels) * kPartsAtMost * kFloats;
}

void message_hidden(const MessageLayer<float>& layer, const MessageTile<float>& tile, const MessageFactors& factors,
                    bool backward, int64_t begin, int64_t end, float* scratch) {
  with_parts(factors.parts,
             [&](auto known) { hidden<known.value>(layer, tile, factors, backward, begin, end, scratch); });
}

void message_outputs(const MessageLayer<float>& layer, const MessageFactors& factors, int64_t panel, int64_t begin,
                     int64_t end, float* to) {
  with_parts(factors.parts, [&](auto known) { outputs<known.value>(layer, factors, panel, begin, end, to); });
}

void message_unpool(const MessageLayer<float>& layer, const MessageTile<float>& tile, const MessageGrad<float>& grad,
                    const MessageFactors& factors, int64_t chunk) {
  with_parts(factors.parts, [&](auto known) { unpool<known.value>(layer, tile, grad, factors, chunk); });
}

void message_grad_active(const MessageLayer<float>& layer, const MessageGrad<float>& grad,
                         const MessageFactors& factors, int64_t capacity, int64_t first, int64_t last, int64_t begin,
                         int64_t end) {
  with_parts(factors.parts,
             [&](auto known) { grad_active<known.value>(layer, grad, factors, capacity, first, last, begin, end); });
}

void message_grad_w2(const MessageLayer<float>& layer, const MessageGrad<float>& grad, const MessageFactors& factors,
                     int64_t edges, int64_t part, int64_t begin, int64_t end, int64_t first, int64_t last) {
  const Output output = output_of(layer, nullptr, grad, part);
  const int64_t step = triple_message_gradient_row(layer.hidden), along = factors.edge_blocks * factors.parts * kTile;
  with_parts(factors.parts, [&](auto known) {
    multiply_edges<known.value>(grad.add, factors.grad_columns + (2 * output.block + begin / kSide) * along,
                                end - begin, factors.hidden + first / kSide * along, last - first, edges, along,
                                grad.for_w2 + (output.first_row + begin) * step + first, step);
  });
}

void message_grad_w1(const MessageLayer<float>& layer, const MessageGrad<float>& grad, const MessageFactors& factors,
                     int64_t edges, int64_t first, int64_t last) {
  const int64_t step = triple_message_gradient_row(layer.hidden), along = factors.edge_blocks * factors.parts * kTile;
  with_parts(factors.parts, [&](auto known) {
    multiply_edges<known.value>(grad.add, factors.attr_columns, layer.channels,
                                factors.active_pairs + first / kSide * along, last - first, edges, along,
                                grad.for_w1 + first, step);
  });
}

void message_grad_edge_attr(const MessageLayer<float>& layer, const MessageGrad<float>& grad,
                            const MessageFactors& factors, int64_t begin, int64_t end) {
  with_parts(factors.parts, [&](auto known) { grad_edge_attr<known.value>(layer, grad, factors, begin, end); });
}

}  // namespace hmeg::amx
