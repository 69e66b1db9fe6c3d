// triple_message: one graph convolution over subject-relation-object triples, without its matrix products. The caller
// does those, on tiles of edges; these functions do what stands between them. All of them work on one tile: edge i of
// the tile is edge i of `subject`, `object` and `type`, which point to the tile's first edge.
//
// Every function here returns nullptr, or a message that says what went wrong and lives until the thread's next call.
// Arrays are contiguous and of one scalar type unless said otherwise. K is `hidden`, C' is `out`. Nodes and types are
// int64 and must be in range: the caller has checked them.
//
// A row of W2's outputs has, in this order, K columns for the subject, C' for the edge (none where `out` is 0), K for
// the object. signs (E, words) int32: bit i of word j says whether column 32 j + i is positive; columns for the subject,
// then for the object, then the edge's, each of the three beginning a word.
//
// The order in which sums are taken is fixed: results do not depend on the number of threads.
#pragma once

#include <cstdint>

namespace hmeg {

constexpr int64_t kUnpoolChunk = 64;  // edges

}  // namespace hmeg

extern "C" {

// activations[i] = ReLU(from_subject[subject[i]] + from_object[object[i]] + e), rows of K numbers: e is
// from_type[type[i]], or where from_type is null what activations[i] holds already.
const char* hmeg_cpu_triple_message_hidden(int64_t dtype, const void* from_subject, const void* from_object,
                                           const void* from_type, const int64_t* subject, const int64_t* object,
                                           const int64_t* type, void* activations, int64_t edges, int64_t hidden,
                                           int64_t threads, int64_t variant);

// products holds W2's outputs without their bias (2 K + C',). Their ReLU: parts for nodes are added to pooled (V, K),
// the edge's is written to new_edges (C' columns); signs of all are written unless signs is null.
const char* hmeg_cpu_triple_message_pool(int64_t dtype, const void* products, const void* bias, const int64_t* subject,
                                         const int64_t* object, void* pooled, void* new_edges, int32_t* signs,
                                         int64_t edges, int64_t hidden, int64_t out, int64_t threads, int64_t variant);

// Gradient of W2's outputs: grad_pooled (V, K) of the subject and of the object, grad_edges of the edge, each where
// signs says that ReLU let it through. Their sums over the tile are added to grad_bias (2 K + C',). partial_sums is
// scratch: a row of 2 K + C' for every kUnpoolChunk edges, or part of as many.
const char* hmeg_cpu_triple_message_unpool(int64_t dtype, const void* grad_pooled, const void* grad_edges,
                                           const int32_t* signs, const int64_t* subject, const int64_t* object,
                                           void* grad_products, void* partial_sums, void* grad_bias, int64_t edges,
                                           int64_t hidden, int64_t out, int64_t threads, int64_t variant);

// grad (K columns), the gradient of activations, becomes 0 where these are 0; what is left is added to row subject[i]
// of for_subject (V, K), to row object[i] of for_object (V, K), and unless for_type is null to row type[i] of that.
const char* hmeg_cpu_triple_message_scatter(int64_t dtype, const void* activations, const int64_t* subject,
                                            const int64_t* object, const int64_t* type, void* grad, void* for_subject,
                                            void* for_object, void* for_type, int64_t edges, int64_t hidden,
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
                                             const int64_t* object_edges, void* carried, void* collected,
                                             int64_t first, int64_t count, int64_t edges, int64_t nodes, int64_t width,
                                             void* stream);
}
