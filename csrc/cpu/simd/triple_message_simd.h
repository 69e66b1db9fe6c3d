// Single-threaded parts of triple_message, declared once per instruction set; csrc/triple_message.h says what they
// compute, csrc/cpu/triple_message.cpp in which order they run. Products are those of sparse_product.h: "width" is its
// kWidth, the columns of a panel, "depth" its kDepth.
#pragma once

#include "cpu/simd/variant.h"

namespace hmeg {

// Panels of a weight: (panels of columns, depth blocks, depth, width).

// A tile of edges, and what is known of them. Pointers to edges point to the tile's first one.
template <typename T>
struct MessageTile {
  int64_t edges, capacity;  // edges of this tile, and of the largest
  const int64_t *subject, *object, *type;
  const T* edge_attr;  // (edges, C); where there are types, unused
  // Results of triple_message_hidden:
  T* active;       // (K panels, capacity, width): hidden activations
  uint64_t* bits;  // (K / depth, capacity): which of them are not zero
};

// What all tiles share.
template <typename T>
struct MessageLayer {
  int64_t channels, hidden, out;                    // C, K, C' or 0
  int64_t object_row;                               // row of W2 where the object's part begins; the edge's begins at K
  const T *from_subject, *from_object, *from_type;  // (V, K), (V, K), (R, K) or null
  const T* w1_panels;                               // of the edges' part of W1, transposed (C, K); unused with types
  const T* w2;                                      // as it is given
  // Forward: W2 transposed, (K, 2 K + C'), with columns for the subject K, for the object K, for the edge C', each
  // beginning a panel. Backward: W2 (2 K + C', K), each part beginning a depth block. Null: panels are made when
  // needed, which costs less where one is needed once or twice
  const T* w2_panels;
  const T* bias;  // of W2, in its own order
};

template <typename T>
struct MessagePool {
  T* pooled;       // (V, K)
  T* new_edges;    // (edges, C')
  int32_t* signs;  // (edges, words) or null
};

template <typename T>
struct MessageGrad {
  const T *grad_pooled, *grad_edges;  // (V, K), (edges, C')
  const int32_t* signs;               // (edges, words)
  // Of a tile, by chunks of `depth` edges:
  T* products;             // (chunks, 2 K + C', depth): gradients of W2's outputs, were all of them positive
  uint64_t* product_bits;  // (chunks, 2 K + C'): which were
  T* product_sums;         // (chunks, 2 K + C'): their sums
  T* attr;                 // (chunks, C, depth)
  uint64_t* attr_bits;     // (chunks, C)
  T* grad_active;          // (K panels, capacity, width)
  const T* w1_panels;      // the edges' part of W1 (K, C)
  T *for_subject, *for_object, *for_type;  // (V, K), (V, K), (R, K) or null: added to
  T* for_w2;                               // rows of W2, each triple_message_gradient_row(K) long
  T* for_edge_attr;                        // (edges, C)
  T* for_w1;                               // (C, triple_message_gradient_row(K)): of the edges' part
  bool add;                                // whether for_w2 and for_w1 hold sums of other tiles
};

}  // namespace hmeg

#define HMEG_DECLARE_TRIPLE_MESSAGE(T)                                                                                 \
  void triple_message_sizes(const T* nothing, int64_t* width, int64_t* depth);                                         \
  /* one panel (rows, width): B[j, w] is from[j * by_row + w * by_column] */                                           \
  void triple_message_pack(const T* from, int64_t by_row, int64_t by_column, int64_t rows, int64_t columns, T* panel); \
  /* active and bits of edges [begin, end) of the tile, at most `depth` of them */                                     \
  void triple_message_hidden(const MessageLayer<T>& layer, const MessageTile<T>& tile, int64_t begin, int64_t end);    \
  /* to (end - begin, width) = W2's outputs of edges [begin, end), one panel of w2_panels */                           \
  void triple_message_outputs(const MessageLayer<T>& layer, const MessageTile<T>& tile, int64_t panel, int64_t begin,  \
                              int64_t end, T* to);                                                                     \
  /* W2's outputs (edges, width) for the nodes, one panel of columns of part 0, subject, or 1, object: to pooled */    \
  void triple_message_pool(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessagePool<T>& to,         \
                           int64_t panel, int64_t part, const T* outputs);                                             \
  /* W2's outputs (end - begin, width) for edges, one panel of columns: to new_edges */                                \
  void triple_message_keep(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessagePool<T>& to,         \
                           int64_t panel, int64_t begin, int64_t end, const T* outputs);                               \
  /* products, attr and what goes with them, of one chunk */                                                           \
  void triple_message_unpool(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad,     \
                             int64_t chunk);                                                                           \
  /* one panel of columns of grad_active, of edges [begin, end) */                                                     \
  void triple_message_grad_active(const MessageLayer<T>& layer, const MessageTile<T>& tile,                            \
                                  const MessageGrad<T>& grad, int64_t panel, int64_t begin, int64_t end);              \
  /* one panel of columns of grad_active: to its nodes and types */                                                    \
  void triple_message_scatter(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad,    \
                              int64_t panel);                                                                          \
  /* one panel of columns of for_w2: the rows of one part, 0 subject, 1 object, 2 edge */                              \
  void triple_message_grad_w2(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad,    \
                              int64_t panel, int64_t part);                                                            \
  /* for_edge_attr of edges [begin, end), at most `depth`; scratch (depth, width) */                                   \
  void triple_message_grad_edge_attr(const MessageLayer<T>& layer, const MessageTile<T>& tile,                         \
                                     const MessageGrad<T>& grad, int64_t begin, int64_t end, T* scratch);              \
  /* one panel of columns of for_w1 */                                                                                 \
  void triple_message_grad_w1(const MessageLayer<T>& layer, const MessageTile<T>& tile, const MessageGrad<T>& grad,    \
                              int64_t panel);

HMEG_DECLARE_VARIANTS(HMEG_DECLARE_TRIPLE_MESSAGE)
