// triple_message: one graph convolution over subject-relation-object triples; what is done per edge. Products of nodes
// are the caller's.
//
// C is `channels`, K `hidden` or `width`, C' `out`. Nodes and types must be in range: the caller has checked them.
#pragma once

#include "parameters.h"

namespace hmeg {

// On the CPU: numbers that a row of the gradients of W1 and W2 takes, so that panels of every width fit.
constexpr int64_t kMessagePanel = 128;
constexpr int64_t triple_message_gradient_row(int64_t hidden) {
  return (hidden + kMessagePanel - 1) / kMessagePanel * kMessagePanel;
}

// On the CPU: whether the two entry points below multiply by a matrix unit, so that the caller may do so too.
bool triple_message_by_matrix_unit(int64_t dtype, int64_t edges, int64_t variant);

// int32 words of an edge's signs, of `own` columns for the edge itself.
constexpr int64_t triple_message_words(int64_t width, int64_t own) { return 2 * ((width + 31) / 32) + (own + 31) / 32; }

// --- On the CPU: everything between the products of nodes ------------------------------------------------------------
//
// E is `edges`, V `nodes`, R `types`. from_subject, from_object (V, K): W1's products with x, one of them with b1.
// from_type (R, K): W1's product with the table of edge features; where it is null, `type` is too, and edge_attr (E, C)
// is multiplied here. w1 points to the edges' columns of W1, rows w1_step apart. w2 and b2 are whole: K rows for the
// subject, those for the edge, and from row object_row on K for the object. `out` is 0 where the edges' outputs are not
// wanted.
//
// signs (E, words): bit i of word j says whether column 32 j + i of W2's output is positive; columns for the subject,
// then for the object, then the edge's, each of the three beginning a word.
//
// parts: with a matrix unit float32 is multiplied as a sum of so many bfloat16: 3, which is all of it, 2 or 1.
//
// Zeros are passed over: 0 times infinity or NaN counts as 0, except with a matrix unit. Sums are taken in an order of
// their own, and results do not depend on the number of threads.

// pooled (V, K), which must be zero before: sums over the edges of ReLU(W2 ReLU(W1 [x_s ; e ; x_o] + b1) + b2);
// new_edges (E, C') and, unless null, signs.
struct TripleMessageForward {
  const void *from_subject, *from_object, *from_type, *edge_attr, *w1, *w2, *b2;
  const int64_t *subject, *object, *type;
  void *pooled, *new_edges;
  int32_t* signs;
  int64_t edges, nodes, types, channels, hidden, out, w1_step, object_row, parts;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(from_subject), nodes * hidden);
    list.array(HMEG_FIELD(from_object), nodes * hidden);
    list.optional(HMEG_FIELD(from_type), types * hidden);
    list.array(HMEG_FIELD(edge_attr), (type == nullptr ? edges : types) * channels);
    list.strided(HMEG_FIELD(w1), hidden == 0 ? 0 : (hidden - 1) * w1_step + channels);
    list.array(HMEG_FIELD(w2), (object_row + hidden) * hidden);
    list.array(HMEG_FIELD(b2), object_row + hidden);
    list.array(HMEG_FIELD(subject), edges, nodes);
    list.array(HMEG_FIELD(object), edges, nodes);
    list.optional(HMEG_FIELD(type), edges, types);
    list.array(HMEG_FIELD(pooled), nodes * hidden);
    list.array(HMEG_FIELD(new_edges), edges * out);
    list.optional(HMEG_FIELD(signs), edges * triple_message_words(hidden, out));
    list.number(HMEG_FIELD(edges));
    list.number(HMEG_FIELD(nodes));
    list.number(HMEG_FIELD(types));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(hidden));
    list.number(HMEG_FIELD(out));
    list.number(HMEG_FIELD(w1_step));
    list.number(HMEG_FIELD(object_row));
    list.number(HMEG_FIELD(parts));
  }
};

// From grad_pooled (V, K) and grad_edges (E, C'). Must be zero before: for_subject and for_object (V, K), for_type
// (R, K; null without types), gradients of from_subject and so on; for_b2. Written where there are edges: for_edge_attr
// (E, C) and for_w1 (C, K') of the edges' part, transposed, both not with types; for_w2 (rows as W2's, K'). K' is
// triple_message_gradient_row(K).
struct TripleMessageBackward {
  const void *from_subject, *from_object, *from_type, *edge_attr, *w1, *w2;
  const int64_t *subject, *object, *type;
  const void *grad_pooled, *grad_edges;
  const int32_t* signs;
  void *for_subject, *for_object, *for_type, *for_edge_attr, *for_w1, *for_w2, *for_b2;
  int64_t edges, nodes, types, channels, hidden, out, w1_step, object_row, parts;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(from_subject), nodes * hidden);
    list.array(HMEG_FIELD(from_object), nodes * hidden);
    list.optional(HMEG_FIELD(from_type), types * hidden);
    list.array(HMEG_FIELD(edge_attr), (type == nullptr ? edges : types) * channels);
    list.strided(HMEG_FIELD(w1), hidden == 0 ? 0 : (hidden - 1) * w1_step + channels);
    list.array(HMEG_FIELD(w2), (object_row + hidden) * hidden);
    list.array(HMEG_FIELD(subject), edges, nodes);
    list.array(HMEG_FIELD(object), edges, nodes);
    list.optional(HMEG_FIELD(type), edges, types);
    list.array(HMEG_FIELD(grad_pooled), nodes * hidden);
    list.array(HMEG_FIELD(grad_edges), edges * out);
    list.array(HMEG_FIELD(signs), edges * triple_message_words(hidden, out));
    list.array(HMEG_FIELD(for_subject), nodes * hidden);
    list.array(HMEG_FIELD(for_object), nodes * hidden);
    list.optional(HMEG_FIELD(for_type), types * hidden);
    list.array(HMEG_FIELD(for_edge_attr), type == nullptr ? edges * channels : 0);
    list.array(HMEG_FIELD(for_w1), channels * triple_message_gradient_row(hidden));
    list.array(HMEG_FIELD(for_w2), (object_row + hidden) * triple_message_gradient_row(hidden));
    list.array(HMEG_FIELD(for_b2), object_row + hidden);
    list.number(HMEG_FIELD(edges));
    list.number(HMEG_FIELD(nodes));
    list.number(HMEG_FIELD(types));
    list.number(HMEG_FIELD(channels));
    list.number(HMEG_FIELD(hidden));
    list.number(HMEG_FIELD(out));
    list.number(HMEG_FIELD(w1_step));
    list.number(HMEG_FIELD(object_row));
    list.number(HMEG_FIELD(parts));
  }
};

// --- On a GPU: between the products of edges
// ---------------------------------------------------------------------------
//
// The kernels work on a range of edges, `count` of `edges` from the one numbered `first` on, in the order of edge_index
// (2, E); V is `nodes`. Lists are those of hmeg.ops.EdgeStructure. Where a pass needs several ranges, `carried` takes
// sums from one to the next, of the result's shape.

// hidden (count, K) = ReLU(projected[0, subject] + own + projected[1, object]) of projected (2, V, K); own: the row of
// table (R, K) that edge_type names, or, both null, what `hidden` held before.
struct TripleMessageHidden {
  const void *projected, *table;
  const int64_t *edge_index, *edge_type;
  void* hidden;
  int64_t first, count, edges, nodes, types, width;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(projected), 2 * nodes * width);
    list.optional(HMEG_FIELD(table), types * width);
    list.array(HMEG_FIELD(edge_index), 2 * edges, nodes);
    list.optional(HMEG_FIELD(edge_type), edges, types);
    list.array(HMEG_FIELD(hidden), count * width);
    list.number(HMEG_FIELD(first));
    list.number(HMEG_FIELD(count));
    list.number(HMEG_FIELD(edges));
    list.number(HMEG_FIELD(nodes));
    list.number(HMEG_FIELD(types));
    list.number(HMEG_FIELD(width));
  }
};

// From products (count, 2 K + C'), or (count, 2 K) where new_edges is null, without their bias: pooled (V, K),
// new_edges (E, C'), and signs (E, words) as hmeg/ops/triple_message.py has them unless they are null.
struct TripleMessagePool {
  const void *products, *bias;
  const int64_t *subject_rows, *subject_edges, *object_rows, *object_edges;
  Sums* carried;
  void *pooled, *new_edges;
  int32_t* signs;
  int64_t first, count, edges, nodes, width, out, average;

  int64_t own() const { return new_edges == nullptr ? 0 : out; }

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(products), count * (2 * width + own()));
    list.array(HMEG_FIELD(bias), 2 * width + own());
    list.array(HMEG_FIELD(subject_rows), nodes + 1);
    list.array(HMEG_FIELD(subject_edges), edges, edges);
    list.array(HMEG_FIELD(object_rows), nodes + 1);
    list.array(HMEG_FIELD(object_edges), edges, edges);
    list.array(HMEG_FIELD(carried), count < edges ? nodes * width : 0);
    list.array(HMEG_FIELD(pooled), nodes * width);
    list.optional(HMEG_FIELD(new_edges), edges * out);
    list.optional(HMEG_FIELD(signs), edges * triple_message_words(width, own()));
    list.number(HMEG_FIELD(first));
    list.number(HMEG_FIELD(count));
    list.number(HMEG_FIELD(edges));
    list.number(HMEG_FIELD(nodes));
    list.number(HMEG_FIELD(width));
    list.number(HMEG_FIELD(out));
    list.number(HMEG_FIELD(average));
  }
};

// grad_products (count, 2 K + own): grad_pooled (V, K) of subject and object, and grad_edges (E, own) between them,
// where the signs say that ReLU lets them through.
struct TripleMessageGradProducts {
  const int32_t* signs;
  const void *grad_pooled, *grad_edges;
  const int64_t* edge_index;
  void* grad_products;
  int64_t first, count, edges, nodes, width, own;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(signs), edges * triple_message_words(width, own));
    list.array(HMEG_FIELD(grad_pooled), nodes * width);
    list.array(HMEG_FIELD(grad_edges), edges * own);
    list.array(HMEG_FIELD(edge_index), 2 * edges, nodes);
    list.array(HMEG_FIELD(grad_products), count * (2 * width + own));
    list.number(HMEG_FIELD(first));
    list.number(HMEG_FIELD(count));
    list.number(HMEG_FIELD(edges));
    list.number(HMEG_FIELD(nodes));
    list.number(HMEG_FIELD(width));
    list.number(HMEG_FIELD(own));
  }
};

// collected (2, V, K): sums of rows (count, K) over each node's edges as subject and as object.
struct TripleMessageCollect {
  const void* rows;
  const int64_t *subject_rows, *subject_edges, *object_rows, *object_edges;
  Sums* carried;
  void* collected;
  int64_t first, count, edges, nodes, width;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(rows), count * width);
    list.array(HMEG_FIELD(subject_rows), nodes + 1);
    list.array(HMEG_FIELD(subject_edges), edges, edges);
    list.array(HMEG_FIELD(object_rows), nodes + 1);
    list.array(HMEG_FIELD(object_edges), edges, edges);
    list.array(HMEG_FIELD(carried), count < edges ? 2 * nodes * width : 0);
    list.array(HMEG_FIELD(collected), 2 * nodes * width);
    list.number(HMEG_FIELD(first));
    list.number(HMEG_FIELD(count));
    list.number(HMEG_FIELD(edges));
    list.number(HMEG_FIELD(nodes));
    list.number(HMEG_FIELD(width));
  }
};

}  // namespace hmeg
