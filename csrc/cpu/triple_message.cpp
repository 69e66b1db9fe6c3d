// triple_message on the CPU, between its matrix products. Where rows are summed, blocks of columns are shared out among
// threads, and each sums over all edges of the tile in their order; or partial sums are taken over chunks of edges of a
// fixed size. So results do not depend on the number of threads.
#include "triple_message.h"

#include <algorithm>

#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/triple_message_simd.h"
#include "cpu/variants.h"

namespace hmeg::cpu {
namespace {

constexpr int64_t kEdgeGrain = 64;

int64_t blocks_of(int64_t columns) { return (columns + kMessageColumns - 1) / kMessageColumns; }
int64_t words_of(int64_t columns) { return (columns + 31) / 32; }

// A block of columns of one part of W2's outputs.
struct Block {
  int64_t begin;    // first column within its part
  int64_t columns;  // how many
  int64_t product;  // first column within W2's outputs
  int64_t word;     // first word of signs
};

// Where the parts begin within W2's outputs and within signs.
struct Row {
  int64_t hidden, out;
  int64_t products() const { return 2 * hidden + out; }
  int64_t words() const { return 2 * words_of(hidden) + words_of(out); }
  Block subject(int64_t i) const { return block(i, hidden, 0, 0); }
  Block object(int64_t i) const { return block(i, hidden, hidden + out, words_of(hidden)); }
  Block edge(int64_t i) const { return block(i, out, hidden, 2 * words_of(hidden)); }

 private:
  static Block block(int64_t i, int64_t width, int64_t product, int64_t word) {
    const int64_t begin = i * kMessageColumns;
    return {begin, std::min(kMessageColumns, width - begin), product + begin, word + begin / 32};
  }
};

template <typename T>
T* shifted(T* array, int64_t by) {
  return array == nullptr ? nullptr : array + by;
}

}  // namespace
}  // namespace hmeg::cpu

const char* hmeg_cpu_triple_message_hidden(int64_t dtype, const void* from_subject, const void* from_object,
                                           const void* from_type, const int64_t* subject, const int64_t* object,
                                           const int64_t* type, void* activations, int64_t edges, int64_t hidden,
                                           int64_t threads, int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      parallel_for(edges, kEdgeGrain, threads, [&](int64_t begin, int64_t end, int64_t) {
        HMEG_VARIANT_CALL(chosen, triple_message_hidden, static_cast<const T*>(from_subject),
                          static_cast<const T*>(from_object), static_cast<const T*>(from_type), subject, object, type,
                          static_cast<T*>(activations), begin, end, hidden);
      });
    });
  });
}

const char* hmeg_cpu_triple_message_pool(int64_t dtype, const void* products, const void* bias, const int64_t* subject,
                                         const int64_t* object, void* pooled, void* new_edges, int32_t* signs,
                                         int64_t edges, int64_t hidden, int64_t out, int64_t threads, int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    const Row row{hidden, out};
    const int64_t node_blocks = blocks_of(hidden);
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* const from = static_cast<const T*>(products);
      const auto* const offset = static_cast<const T*>(bias);
      const auto add_to_nodes = [&](const Block& block, const int64_t* node) {
        HMEG_VARIANT_CALL(chosen, triple_message_pool_nodes, from + block.product, row.products(),
                          offset + block.product, node, static_cast<T*>(pooled) + block.begin, hidden,
                          shifted(signs, block.word), row.words(), edges, block.columns);
      };
      parallel_for(node_blocks + blocks_of(out), 1, threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t item = begin; item < end; ++item) {
          if (item < node_blocks) {  // both parts add to the same columns: one thread, one after the other
            add_to_nodes(row.subject(item), subject);
            add_to_nodes(row.object(item), object);
          } else {
            const Block block = row.edge(item - node_blocks);
            HMEG_VARIANT_CALL(chosen, triple_message_keep_edges, from + block.product, row.products(),
                              offset + block.product, static_cast<T*>(new_edges) + block.begin, out,
                              shifted(signs, block.word), row.words(), edges, block.columns);
          }
        }
      });
    });
  });
}

const char* hmeg_cpu_triple_message_unpool(int64_t dtype, const void* grad_pooled, const void* grad_edges,
                                           const int32_t* signs, const int64_t* subject, const int64_t* object,
                                           void* grad_products, void* partial_sums, void* grad_bias, int64_t edges,
                                           int64_t hidden, int64_t out, int64_t threads, int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    const int64_t columns = 2 * hidden + out, chunks = (edges + kUnpoolChunk - 1) / kUnpoolChunk;
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      auto* const partial = static_cast<T*>(partial_sums);
      auto* const total = static_cast<T*>(grad_bias);
      parallel_for(chunks, 1, threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t chunk = begin; chunk < end; ++chunk) {
          HMEG_VARIANT_CALL(chosen, triple_message_unpool, static_cast<const T*>(grad_pooled),
                            static_cast<const T*>(grad_edges), signs, subject, object, static_cast<T*>(grad_products),
                            partial + chunk * columns, chunk * kUnpoolChunk,
                            std::min((chunk + 1) * kUnpoolChunk, edges), hidden, out);
        }
      });
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        for (int64_t c = 0; c < columns; ++c) total[c] += partial[chunk * columns + c];
      }
    });
  });
}

const char* hmeg_cpu_triple_message_scatter(int64_t dtype, const void* activations, const int64_t* subject,
                                            const int64_t* object, const int64_t* type, void* grad, void* for_subject,
                                            void* for_object, void* for_type, int64_t edges, int64_t hidden,
                                            int64_t threads, int64_t variant) {
  using namespace hmeg;
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      parallel_for(blocks_of(hidden), 1, threads, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t first = item * kMessageColumns;
          HMEG_VARIANT_CALL(chosen, triple_message_scatter, static_cast<const T*>(activations) + first, subject, object,
                            type, static_cast<T*>(grad) + first, static_cast<T*>(for_subject) + first,
                            static_cast<T*>(for_object) + first, shifted(static_cast<T*>(for_type), first), hidden,
                            edges, std::min(kMessageColumns, hidden - first));
        }
      });
    });
  });
}
