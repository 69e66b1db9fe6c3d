// triple_message: one graph convolution over subject-relation-object triples; what is done per edge. Products of nodes
// are the caller's.
//
// Every function that returns text returns nullptr, or a message that says what went wrong and lives until the thread's
// next call. Arrays are contiguous and of one scalar type unless said otherwise. C is `channels`, K `hidden`, C' `out`.
// Nodes and types are int64 and must be in range: the caller has checked them.
#pragma once

#include <cstdint>

namespace hmeg {

// On the CPU: numbers that a row of the gradients of W1 and W2 takes, so that panels of every width fit.
constexpr int64_t kMessagePanel = 128;
constexpr int64_t triple_message_gradient_row(int64_t hidden) {
  return (hidden + kMessagePanel - 1) / kMessagePanel * kMessagePanel;
}

}  // namespace hmeg

extern "C" {

// On the CPU: everything between the products of nodes. E is `edges`, V and R as many as the edges name.
//
// from_subject, from_object (V, K): W1's products with x, one of them with b1. from_type (R, K): W1's product with the
// table of edge features; where it is null, `type` is too, and edge_attr (E, C) is multiplied here. w1 points to the
// edges' columns of W1, rows w1_step apart. w2 and b2 are whole: K rows for the subject, those for the edge, and from
// row object_row on K for the object. `out` is 0 where the edges' outputs are not wanted.
//
// signs (E, words) int32: bit i of word j says whether column 32 j + i of W2's output is positive; columns for the
// subject, then for the object, then the edge's, each of the three beginning a word.
//
// parts: with a matrix unit float32 is multiplied as a sum of so many bfloat16: 3, which is all of it, 2 or 1.
//
// Zeros are passed over: 0 times infinity or NaN counts as 0, except with a matrix unit. Sums are taken in an order of
// their own, and results do not depend on the number of threads.

// Whether the functions below multiply by a matrix unit, so that the caller may do so too: 1 or 0.
int64_t hmeg_cpu_triple_message_by_matrix_unit(int64_t dtype, int64_t edges, int64_t variant);

// Bytes of workspace of the two functions below, aligned to 64; `types`: whether there is a type.
int64_t hmeg_cpu_triple_message_forward_workspace(int64_t dtype, int64_t edges, int64_t channels, int64_t hidden,
                                                  int64_t out, int64_t types, int64_t parts, int64_t variant,
                                                  int64_t threads);
int64_t hmeg_cpu_triple_message_backward_workspace(int64_t dtype, int64_t edges, int64_t channels, int64_t hidden,
                                                   int64_t out, int64_t types, int64_t parts, int64_t variant,
                                                   int64_t threads);

// pooled (V, K), which must be zero before: sums over the edges of ReLU(W2 ReLU(W1 [x_s ; e ; x_o] + b1) + b2);
// new_edges (E, C') and, unless null, signs.
const char* hmeg_cpu_triple_message_forward(int64_t dtype, const void* from_subject, const void* from_object,
                                            const void* from_type, const void* edge_attr, const void* w1,
                                            const void* w2, const void* b2, const int64_t* subject,
                                            const int64_t* object, const int64_t* type, void* pooled, void* new_edges,
                                            int32_t* signs, void* workspace, int64_t edges, int64_t channels,
                                            int64_t hidden, int64_t out, int64_t w1_step, int64_t object_row,
                                            int64_t parts, int64_t threads, int64_t variant);

// From grad_pooled (V, K) and grad_edges (E, C'). Must be zero before: for_subject and for_object (V, K), for_type
// (R, K; null without types), gradients of from_subject and so on; for_b2. Written where there are edges: for_edge_attr
// (E, C) and for_w1 (C, K') of the edges' part, transposed, both not with types; for_w2 (rows as W2's, K'). K' is
// triple_message_gradient_row(K).
const char* hmeg_cpu_triple_message_backward(int64_t dtype, const void* from_subject, const void* from_object,
                                             const void* from_type, const void* edge_attr, const void* w1,
                                             const void* w2, const int64_t* subject, const int64_t* object,
                                             const int64_t* type, const void* grad_pooled, const void* grad_edges,
                                             const int32_t* signs, void* for_subject, void* for_object, void* for_type,
                                             void* for_edge_attr, void* for_w1, void* for_w2, void* for_b2,
                                             void* workspace, int64_t edges, int64_t channels, int64_t hidden,
                                             int64_t out, int64_t w1_step, int64_t object_row, int64_t parts,
                                             int64_t threads, int64_t variant);

// The CUDA kernels work on a range of edges, `count` of `edges` from the one numbered `first` on, in the order of
// edge_index (2, E); K is `width`, V `nodes`. Lists are those of hmeg.ops.EdgeStructure. Where a pass needs several
// ranges, `carried` takes sums from one to the next, in accumulation precision and of the result's shape.
//
// hidden (count, K) = ReLU(projected[0, subject] + own + projected[1, object]) of projected (2, V, K); own: the row of
// table (R, K) that edge_type names, or, both null, what `hidden` held before.
const char* hmeg_cuda_triple_message_hidden(int64_t dtype, const void* projected, const void* table,
                                            const int64_t* edge_index, const int64_t* edge_type, void* hidden,
                                            int64_t first, int64_t count, int64_t edges, int64_t nodes, int64_t width,
                                            void* stream);
// From products (count, 2 K + C'), or (count, 2 K) where new_edges is null, without their bias: pooled (V, K),
// new_edges (E, C'), and signs (E, words) as hmeg/ops/triple_message.py has them unless they are null.
const char* hmeg_cuda_triple_message_pool(int64_t dtype, const void* products, const void* bias,
                                          const int64_t* subject_rows, const int64_t* subject_edges,
                                          const int64_t* object_rows, const int64_t* object_edges, void* carried,
                                          void* pooled, void* new_edges, void* signs, int64_t first, int64_t count,
                                          int64_t edges, int64_t nodes, int64_t width, int64_t out, int64_t average,
                                          void* stream);
// grad_products (count, 2 K + own): grad_pooled (V, K) of subject and object, and grad_edges (E, own) between them,
// where the signs say that ReLU lets them through.
const char* hmeg_cuda_triple_message_grad_products(int64_t dtype, const void* signs, const void* grad_pooled,
                                                   const void* grad_edges, const int64_t* edge_index,
                                                   void* grad_products, int64_t first, int64_t count, int64_t edges,
                                                   int64_t width, int64_t own, void* stream);
// collected (2, V, K): sums of rows (count, K) over each node's edges as subject and as object.
const char* hmeg_cuda_triple_message_collect(int64_t dtype, const void* rows, const int64_t* subject_rows,
                                             const int64_t* subject_edges, const int64_t* object_rows,
                                             const int64_t* object_edges, void* carried, void* collected, int64_t first,
                                             int64_t count, int64_t edges, int64_t nodes, int64_t width, void* stream);
}
