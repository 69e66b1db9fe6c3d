// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
#include "cpu/simd/triple_message_simd.h"

#include "cpu/simd/sparse_product.h"
#include "triple_message.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

constexpr int64_t kBits = 32;  // of a word of signs

static_assert(kMessagePanel % kWidth<float> == 0 && kMessagePanel % kWidth<double> == 0);

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t words_of(int64_t columns) { return (columns + kBits - 1) / kBits; }

template <typename T>
inline int64_t panels_of(int64_t columns) {
  return (columns + kWidth<T> - 1) / kWidth<T>;
}
template <typename T>
inline int64_t depths_of(int64_t rows) {
  return (rows + kDepth<T> - 1) / kDepth<T>;
}

// Written so that NaN falls through.
template <typename T>
inline T relu(T value) {
  return value < T(0) ? T(0) : value;
}

template <typename T>
inline void activate(const T* __restrict product, const T* __restrict bias, T* __restrict value, int64_t count) {
  for (int64_t c = 0; c < count; ++c) value[c] = relu(product[c] + bias[c]);
}

template <typename T>
inline uint32_t signs_of(const T* value, int64_t count) {
  uint32_t word = 0;
  if (count == kBits) {
    for (int64_t c = 0; c < kBits; ++c) word |= uint32_t(value[c] > T(0)) << c;
  } else {
    for (int64_t c = 0; c < count; ++c) word |= uint32_t(value[c] > T(0)) << c;
  }
  return word;
}

// value[c] = ReLU(product[c] + bias[c]), and its signs unless `signs` is null.
template <typename T>
inline void activate_row(const T* product, const T* bias, T* value, int32_t* signs, int64_t columns) {
  activate(product, bias, value, columns);
  if (signs == nullptr) return;
  for (int64_t c = 0; c < columns; c += kBits) {
    signs[c / kBits] = int32_t(signs_of(value + c, smaller(columns - c, kBits)));
  }
}

template <typename T>
inline void add(const T* __restrict value, T* __restrict sum, int64_t columns) {
  for (int64_t c = 0; c < columns; ++c) sum[c] += value[c];
}

template <typename T>
inline void clear(T* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = T(0);
}

// Rows `step` apart, and their bits.
template <typename T>
struct PlainRows {
  const T* values;
  int64_t step;
  const uint64_t* words;
  const T* value(int64_t i) const { return values + i * step; }
  uint64_t bits(int64_t i) const { return words[i]; }
};

// Rows `step` apart, picked by `row` where that is not null, with signs as their bits.
template <typename T>
struct SignedRows {
  const T* values;
  int64_t step;
  const int64_t* row;
  const int32_t* signs;
  int64_t words;
  bool two;  // words of signs that a depth takes
  const T* value(int64_t i) const { return values + (row == nullptr ? i : row[i]) * step; }
  uint64_t bits(int64_t i) const {
    const int32_t* const word = signs + i * words;
    return uint64_t(uint32_t(word[0])) | (two ? uint64_t(uint32_t(word[1])) << kBits : 0);
  }
};

// The hidden activations (or what is laid out like them) of one depth block, from edge `begin` on.
template <typename T>
inline PlainRows<T> hidden_rows(const MessageTile<T>& tile, const T* active, int64_t block, int64_t begin) {
  const int64_t column = block * kDepth<T>;
  const T* const panel = active + (column / kWidth<T>)*tile.capacity * kWidth<T> + column % kWidth<T>;
  return {panel + begin * kWidth<T>, kWidth<T>, tile.bits + block * tile.capacity + begin};
}

// Row of W2 where a part begins: 0 subject, 1 object, 2 edge.
template <typename T>
inline int64_t first_row(const MessageLayer<T>& layer, int64_t part) {
  return part == 0 ? 0 : part == 1 ? layer.object_row : layer.hidden;
}

// to = W2's outputs of edges [begin, end), for the panel of w2_panels of that number
template <typename T>
inline void outputs(const MessageLayer<T>& layer, const MessageTile<T>& tile, int64_t panel, int64_t begin, int64_t end,
                    T* to) {
  constexpr int64_t kW = kWidth<T>, kD = kDepth<T>;
  const int64_t width = layer.hidden, blocks = depths_of<T>(width), node_panels = panels_of<T>(width);
  const int64_t part = panel < node_panels ? 0 : panel < 2 * node_panels ? 1 : 2;
  const int64_t first = (panel - part * node_panels) * kW;
  alignas(kRegisterBytes) T made[kD * kW];
  if (blocks == 0) clear(to, (end - begin) * kW);
  for (int64_t block = 0; block < blocks; ++block) {
    const T* from = made;
    if (layer.w2_panels != nullptr) {
      from = layer.w2_panels + (panel * blocks + block) * kD * kW;
    } else {
      pack_panel(layer.w2 + (first_row(layer, part) + first) * width + block * kD, 1, width,
                 smaller(kD, width - block * kD), (part < 2 ? width : layer.out) - first, made);
    }
    multiply(block > 0, hidden_rows(tile, tile.active, block, begin), end - begin, from, to, kW);
  }
}

template <typename T>
void hidden(const MessageLayer<T>& layer, const MessageTile<T>& tile, int64_t begin, int64_t end) {
  constexpr int64_t kW = kWidth<T>, kD = kDepth<T>;
  const int64_t panels = panels_of<T>(layer.hidden), blocks = depths_of<T>(layer.channels), count = end - begin;
  if (layer.from_type == nullptr) {
    uint64_t bits[kD];
    for (int64_t block = 0; block < blocks; ++block) {
      const T* const from = tile.edge_attr + begin * layer.channels + block * kD;
      const int64_t depth = smaller(kD, layer.channels - block * kD);
      for (int64_t i = 0; i < count; ++i) bits[i] = nonzero_bits(from + i * layer.channels, depth);
      const PlainRows<T> rows{from, layer.channels, bits};
      for (int64_t p = 0; p < panels; ++p) {
        multiply(block > 0, rows, count, layer.w1_panels + (p * blocks + block) * kD * kW,
                 tile.active + (p * tile.capacity + begin) * kW, kW);
      }
    }
  }
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t columns = smaller(kW, layer.hidden - p * kW);
    for (int64_t e = begin; e < end; ++e) {
      const T* __restrict const a = layer.from_subject + tile.subject[e] * layer.hidden + p * kW;
      const T* __restrict const b = layer.from_object + tile.object[e] * layer.hidden + p * kW;
      T* __restrict const row = tile.active + (p * tile.capacity + e) * kW;
      if (layer.from_type == nullptr) {
        for (int64_t c = 0; c < columns; ++c) row[c] = relu(a[c] + b[c] + row[c]);
      } else {
        const T* __restrict const t = layer.from_type + tile.type[e] * layer.hidden + p * kW;
        for (int64_t c = 0; c < columns; ++c) row[c] = relu(a[c] + b[c] + t[c]);
      }
      for (int64_t c = columns; c < kW; ++c) row[c] = T(0);
      for (int64_t c = 0; c < columns; c += kD) {
        tile.bits[(p * kW + c) / kD * tile.capacity + e] = nonzero_bits(row + c, smaller(kD, columns - c));
      }
    }
  }
}

template <typename T>
void pool(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessagePool<T>& to, int64_t panel,
          int64_t part, const T* outputs) {
  const int64_t width = layer.hidden, first = panel * kWidth<T>, columns = smaller(kWidth<T>, width - first);
  const int64_t words = 2 * words_of(width) + words_of(layer.out);
  const int64_t* const node = part == 0 ? tile.subject : tile.object;
  const T* const bias = layer.bias + (part == 0 ? 0 : layer.object_row) + first;
  int32_t* const signs = to.signs == nullptr ? nullptr : to.signs + part * words_of(width) + first / kBits;
  T value[kWidth<T>];
  for (int64_t e = 0; e < tile.edges; ++e) {
    activate_row(outputs + e * kWidth<T>, bias, value, signs == nullptr ? nullptr : signs + e * words, columns);
    add(value, to.pooled + node[e] * width + first, columns);
  }
}

template <typename T>
void keep(const MessageLayer<T>& layer, const MessageTile<T>&, const MessagePool<T>& to, int64_t panel, int64_t begin,
          int64_t end, const T* outputs) {
  const int64_t first = panel * kWidth<T>, columns = smaller(kWidth<T>, layer.out - first);
  const int64_t before = 2 * words_of(layer.hidden), words = before + words_of(layer.out);
  const T* const bias = layer.bias + layer.hidden + first;
  for (int64_t e = begin; e < end; ++e) {
    activate_row(outputs + (e - begin) * kWidth<T>, bias, to.new_edges + e * layer.out + first,
                 to.signs == nullptr ? nullptr : to.signs + e * words + before + first / kBits, columns);
  }
}

// One part of W2's outputs in the backward pass.
template <typename T>
struct Part {
  const T* grad;       // its gradients, were all outputs positive
  const int64_t* row;  // which row of them an edge has; null: its own
  int64_t width;
  int64_t column;  // first column within `products`
  int64_t word;    // first word of signs
};

template <typename T>
inline Part<T> part_of(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad,
                       int64_t part) {
  const int64_t width = layer.hidden, words = words_of(width);
  if (part == 0) return {grad.grad_pooled, tile.subject, width, 0, 0};
  if (part == 1) return {grad.grad_pooled, tile.object, width, width, words};
  return {grad.grad_edges, nullptr, layer.out, 2 * width, 2 * words};
}

// Integers as wide as T, in a register.
template <typename T, int kBytes = int(sizeof(T))>
struct Integers {
  typedef int32_t type __attribute__((vector_size(kRegisterBytes)));
};
template <typename T>
struct Integers<T, 8> {
  typedef int64_t type __attribute__((vector_size(kRegisterBytes)));
};

// The sum of the values whose bit is set, in a fixed order.
template <typename T>
inline T sum_where(uint64_t bits, const T* value) {
  using I = typename Integers<T>::type;
  constexpr int kLanes = kRegisterLanes<T>;
  I own_bit = {};
  for (int lane = 0; lane < kLanes; ++lane) own_bit[lane] = int32_t(1) << lane;
  Pack<T> sums = {};
  for (int64_t first = 0; first < kDepth<T>; first += kLanes) {
    const I some = I{} + int32_t((bits >> first) & 0xffffu);
    const I chosen = (some & own_bit) != 0;
    sums += (Pack<T>)((I)load(value + first) & chosen);
  }
  return sum_of<T>(sums);
}

template <typename T>
void unpool(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad, int64_t chunk) {
  constexpr int64_t kD = kDepth<T>;
  const int64_t begin = chunk * kD, count = smaller(kD, tile.edges - begin);
  const int64_t columns = 2 * layer.hidden + layer.out;
  const int64_t words = 2 * words_of(layer.hidden) + words_of(layer.out);
  uint32_t signs[kD] = {};  // of edges that are not there none is set
  uint64_t masks[kBits];
  for (int64_t p = 0; p < 3; ++p) {
    const Part<T> part = part_of(layer, tile, grad, p);
    for (int64_t first = 0; first < part.width; first += kBits) {
      for (int64_t e = 0; e < count; ++e) {
        signs[e] = uint32_t(grad.signs[(begin + e) * words + part.word + first / kBits]);
      }
      transpose_bits<kD>(signs, masks);
      const int64_t width = smaller(kBits, part.width - first), at = chunk * columns + part.column + first;
      T* const to = grad.products + at * kD;
      const auto row = [&](int64_t e) {
        return part.grad + (part.row == nullptr ? begin + e : part.row[begin + e]) * part.width + first;
      };
      transpose(row, count, width, to, kD);
      for (int64_t c = 0; c < width; ++c) {
        grad.product_bits[at + c] = masks[c];
        grad.product_sums[at + c] = sum_where(masks[c], to + c * kD);
      }
    }
  }
  if (layer.from_type != nullptr) return;
  for (int64_t first = 0; first < layer.channels; first += kBits) {
    const int64_t width = smaller(kBits, layer.channels - first), at = chunk * layer.channels + first;
    T* const to = grad.attr + at * kD;
    const auto row = [&](int64_t e) { return tile.edge_attr + (begin + e) * layer.channels + first; };
    transpose(row, count, width, to, kD);
    for (int64_t c = 0; c < width; ++c) grad.attr_bits[at + c] = nonzero_bits(to + c * kD, count);
  }
}

template <typename T>
void grad_active(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad, int64_t panel,
                 int64_t begin, int64_t end) {
  constexpr int64_t kW = kWidth<T>, kD = kDepth<T>;
  const int64_t words = 2 * words_of(layer.hidden) + words_of(layer.out);
  const int64_t blocks = 2 * depths_of<T>(layer.hidden) + depths_of<T>(layer.out);
  T* const to = grad.grad_active + (panel * tile.capacity + begin) * kW;
  alignas(kRegisterBytes) T made[kD * kW];
  int64_t block = panel * blocks;
  for (int64_t p = 0; p < 3; ++p) {
    const Part<T> part = part_of(layer, tile, grad, p);
    for (int64_t first = 0; first < part.width; first += kD, ++block) {
      const T* from = made;
      if (layer.w2_panels != nullptr) {
        from = layer.w2_panels + block * kD * kW;
      } else {
        pack_panel(layer.w2 + (first_row(layer, p) + first) * layer.hidden + panel * kW, layer.hidden, 1,
                   smaller(kD, part.width - first), layer.hidden - panel * kW, made);
      }
      const int64_t own = part.row == nullptr ? begin * part.width : 0;
      const SignedRows<T> rows{part.grad + own + first,
                               part.width,
                               part.row == nullptr ? nullptr : part.row + begin,
                               grad.signs + begin * words + part.word + first / kBits,
                               words,
                               kD > kBits && first + kBits < part.width};
      multiply(p > 0 || first > 0, rows, end - begin, from, to, kW);
    }
  }
  const T* const active = tile.active + (panel * tile.capacity + begin) * kW;
  for (int64_t i = 0; i < (end - begin) * kW; ++i) to[i] = active[i] != T(0) ? to[i] : T(0);
}

template <typename T>
void scatter(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad, int64_t panel) {
  const int64_t first = panel * kWidth<T>, columns = smaller(kWidth<T>, layer.hidden - first);
  const T* const from = grad.grad_active + panel * tile.capacity * kWidth<T>;
  for (int64_t e = 0; e < tile.edges; ++e) {
    const T* const row = from + e * kWidth<T>;
    add(row, grad.for_subject + tile.subject[e] * layer.hidden + first, columns);
    add(row, grad.for_object + tile.object[e] * layer.hidden + first, columns);
    if (grad.for_type != nullptr) add(row, grad.for_type + tile.type[e] * layer.hidden + first, columns);
  }
}

template <typename T>
void grad_w2(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad, int64_t panel,
             int64_t number) {
  constexpr int64_t kW = kWidth<T>, kD = kDepth<T>;
  const Part<T> part = part_of(layer, tile, grad, number);
  const int64_t columns = 2 * layer.hidden + layer.out, step = triple_message_gradient_row(layer.hidden);
  T* const to = grad.for_w2 + first_row(layer, number) * step + panel * kW;
  // By rows that stay in the first-level cache while all edges are added to them.
  constexpr int64_t kRows = 32;
  for (int64_t first = 0; first < part.width; first += kRows) {
    for (int64_t chunk = 0; chunk * kD < tile.edges; ++chunk) {
      const int64_t at = chunk * columns + part.column + first;
      const PlainRows<T> rows{grad.products + at * kD, kD, grad.product_bits + at};
      const T* const from = tile.active + (panel * tile.capacity + chunk * kD) * kW;
      multiply(grad.add || chunk > 0, rows, smaller(kRows, part.width - first), from, to + first * step, step);
    }
  }
}

template <typename T>
void grad_edge_attr(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad, int64_t begin,
                    int64_t end, T* scratch) {
  constexpr int64_t kW = kWidth<T>, kD = kDepth<T>;
  const int64_t blocks = depths_of<T>(layer.hidden);
  for (int64_t p = 0; p < panels_of<T>(layer.channels); ++p) {
    if (blocks == 0) clear(scratch, (end - begin) * kW);
    for (int64_t block = 0; block < blocks; ++block) {
      multiply(block > 0, hidden_rows(tile, grad.grad_active, block, begin), end - begin,
               grad.w1_panels + (p * blocks + block) * kD * kW, scratch, kW);
    }
    const int64_t columns = smaller(kW, layer.channels - p * kW);
    for (int64_t e = begin; e < end; ++e) {
      T* const to = grad.for_edge_attr + e * layer.channels + p * kW;
      for (int64_t c = 0; c < columns; ++c) to[c] = scratch[(e - begin) * kW + c];
    }
  }
}

template <typename T>
void grad_w1(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad, int64_t panel) {
  constexpr int64_t kW = kWidth<T>, kD = kDepth<T>;
  const int64_t step = triple_message_gradient_row(layer.hidden);
  for (int64_t chunk = 0; chunk * kD < tile.edges; ++chunk) {
    const int64_t at = chunk * layer.channels;
    const PlainRows<T> rows{grad.attr + at * kD, kD, grad.attr_bits + at};
    multiply(grad.add || chunk > 0, rows, layer.channels, grad.grad_active + (panel * tile.capacity + chunk * kD) * kW,
             grad.for_w1 + panel * kW, step);
  }
}

}  // namespace

#define HMEG_DEFINE_TRIPLE_MESSAGE(T)                                                                                 \
  void triple_message_sizes(const T*, int64_t* width, int64_t* depth) {                                               \
    *width = kWidth<T>;                                                                                               \
    *depth = kDepth<T>;                                                                                               \
  }                                                                                                                   \
  void triple_message_pack(const T* from, int64_t by_row, int64_t by_column, int64_t rows, int64_t columns,           \
                           T* panel) {                                                                                \
    pack_panel(from, by_row, by_column, rows, columns, panel);                                                        \
  }                                                                                                                   \
  void triple_message_hidden(const MessageLayer<T>& layer, const MessageTile<T>& tile, int64_t begin, int64_t end) {  \
    hidden(layer, tile, begin, end);                                                                                  \
  }                                                                                                                   \
  void triple_message_outputs(const MessageLayer<T>& layer, const MessageTile<T>& tile, int64_t panel, int64_t begin, \
                              int64_t end, T* to) {                                                                   \
    outputs(layer, tile, panel, begin, end, to);                                                                      \
  }                                                                                                                   \
  void triple_message_pool(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessagePool<T>& to,        \
                           int64_t panel, int64_t part, const T* outputs) {                                           \
    pool(layer, tile, to, panel, part, outputs);                                                                      \
  }                                                                                                                   \
  void triple_message_keep(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessagePool<T>& to,        \
                           int64_t panel, int64_t begin, int64_t end, const T* outputs) {                             \
    keep(layer, tile, to, panel, begin, end, outputs);                                                                \
  }                                                                                                                   \
  void triple_message_unpool(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad,    \
                             int64_t chunk) {                                                                         \
    unpool(layer, tile, grad, chunk);                                                                                 \
  }                                                                                                                   \
  void triple_message_grad_active(const MessageLayer<T>& layer, const MessageTile<T>& tile,                           \
                                  const MessageGrad<T>& grad, int64_t panel, int64_t begin, int64_t end) {            \
    grad_active(layer, tile, grad, panel, begin, end);                                                                \
  }                                                                                                                   \
  void triple_message_scatter(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad,   \
                              int64_t panel) {                                                                        \
    scatter(layer, tile, grad, panel);                                                                                \
  }                                                                                                                   \
  void triple_message_grad_w2(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad,   \
                              int64_t panel, int64_t part) {                                                          \
    grad_w2(layer, tile, grad, panel, part);                                                                          \
  }                                                                                                                   \
  void triple_message_grad_edge_attr(const MessageLayer<T>& layer, const MessageTile<T>& tile,                        \
                                     const MessageGrad<T>& grad, int64_t begin, int64_t end, T* scratch) {            \
    grad_edge_attr(layer, tile, grad, begin, end, scratch);                                                           \
  }                                                                                                                   \
  void triple_message_grad_w1(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad,   \
                              int64_t panel) {                                                                        \
    grad_w1(layer, tile, grad, panel);                                                                                \
  }

HMEG_DEFINE_TRIPLE_MESSAGE(float)
HMEG_DEFINE_TRIPLE_MESSAGE(double)

}  // namespace hmeg::simd::HMEG_SIMD
