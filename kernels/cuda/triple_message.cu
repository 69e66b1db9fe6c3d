// triple_message between the matrix products, which the adapter leaves to torch: gather, add and ReLU before them;
// bias, ReLU and pooling by subject and object after them; and the backward pass of both.
//
// Edges come in ranges, so that what the products read and write stays in the L2 cache. Rows of a range are its edges
// in the order of edge_index; the edges of a node, as subject and as object, are listed in the same order, so a range's
// share of a list is one piece of it. A block owns a node, adds the node's rows in the order of its lists, and adds
// ranges in their order: no atomics, bitwise equal from run to run. Threads own columns, in packs of 16 bytes.
#include "triple_message.h"

#include <type_traits>

#include "device.h"
#include "dtypes.h"
#include "entry.h"

namespace hmeg {
namespace {

constexpr int kBlock = 128;
constexpr int kOwners = kBlock / 2;  // of a node's columns: half of the block sums as subject, half as object
constexpr int kItemsPerThread = 4;   // packs of a thread where rows are independent of one another

// The edges [first, first + count) of all.
struct EdgeRange {
  int64_t first, count, all;
};

// The edges of every node in one role: node v has edges[rows[v]] to edges[rows[v + 1] - 1], ascending.
struct EdgeLists {
  const int64_t* rows;
  const int64_t* edges;

  HMEG_DEVICE int64_t degree(int64_t node) const { return rows[node + 1] - rows[node]; }

  // The position of the first of a node's edges, from position `low` on, that is not below `edge`.
  HMEG_DEVICE int64_t find(int64_t low, int64_t high, int64_t edge) const {
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (edges[middle] < edge) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

// By its members: a choice between structures would put both into local memory.
HMEG_DEVICE EdgeLists either(bool first, const EdgeLists& one, const EdgeLists& other) {
  return {first ? one.rows : other.rows, first ? one.edges : other.edges};
}

template <typename A>
HMEG_DEVICE A relu(A value) {
  return value < A(0) ? A(0) : value;  // NaN falls through
}

template <typename T, int kPack>
HMEG_DEVICE void widen_pack(Accumulator<T> (&values)[kPack], const T* from) {
  const Pack<T, kPack> pack = load_pack<kPack>(from);
  for (int k = 0; k < kPack; ++k) values[k] = widen(pack.items[k]);
}

// Which of a pack's values are positive, as the bits of its columns in the word that holds them, joined with those of
// the lanes that own the word's other columns: 32 / kPack lanes side by side share a word. All lanes take part.
template <int kPack, typename A>
HMEG_DEVICE uint32_t sign_word(const A (&values)[kPack]) {
  constexpr int kLanes = 32 / kPack;
  uint32_t bits = 0;
  for (int k = 0; k < kPack; ++k) bits |= (values[k] > A(0) ? 1u : 0u) << k;
  bits <<= thread_index() % kLanes * kPack;
  for (int mask = 1; mask < kLanes; mask *= 2) bits |= shuffle_xor(bits, mask);
  return bits;
}

// Whether this lane stores the word of sign_word.
template <int kPack>
HMEG_DEVICE bool keeps_word() {
  return thread_index() % (32 / kPack) == 0;
}

// The words of signs: (edges, words), null where nobody wants them. Those of one of an edge's parts begin at `begin`.
struct Signs {
  uint32_t* words;
  int64_t stride, begin;

  HMEG_DEVICE uint32_t* word(int64_t edge, int64_t column) const { return words + edge * stride + begin + column / 32; }
};

// The piece of a node's list that lies in the range: positions [begin, end).
struct Piece {
  int64_t begin, end;

  HMEG_DEVICE Piece(const EdgeLists& lists, int64_t node, const EdgeRange& range)
      : begin(lists.rows[node]), end(lists.rows[node + 1]) {
    if (range.count < range.all) {
      begin = lists.find(begin, end, range.first);
      end = lists.find(begin, end, range.first + range.count);
    }
  }
};

// Adds ReLU(row + bias) over a piece's rows to a pack of columns, and keeps the signs. All lanes take part, those
// without columns too.
template <typename T, int kPack>
HMEG_DEVICE void add_activations(Accumulator<T> (&sums)[kPack], const EdgeLists& lists, int64_t node,
                                 const EdgeRange& range, const T* products, int64_t stride, const T* bias,
                                 int64_t column, int64_t width, const Signs& signs) {
  using A = Accumulator<T>;
  const Piece piece(lists, node, range);
  const bool active = column < width;
  A offset[kPack] = {};
  if (active) widen_pack(offset, bias + column);
  for (int64_t at = piece.begin; at < piece.end; ++at) {
    const int64_t edge = lists.edges[at];
    A values[kPack] = {};
    if (active) {
      widen_pack(values, products + (edge - range.first) * stride + column);
      for (int k = 0; k < kPack; ++k) {
        values[k] += offset[k];
        sums[k] += relu(values[k]);
      }
    }
    if (signs.words != nullptr) {
      const uint32_t word = sign_word(values);
      if (active && keeps_word<kPack>()) *signs.word(edge, column) = word;
    }
  }
}

// Continues a node's sums from the ranges before, and hands them on to the next or, divided, to `out`.
template <typename A, int kPack>
HMEG_DEVICE void carry_in(A (&sums)[kPack], const A* carried, const EdgeRange& range) {
  for (int k = 0; k < kPack; ++k) sums[k] = range.first > 0 ? carried[k] : A(0);
}
template <typename T, int kPack>
HMEG_DEVICE void carry_out(const Accumulator<T> (&sums)[kPack], Accumulator<T>* carried, T* out, const EdgeRange& range,
                           Accumulator<T> divisor) {
  if (range.first + range.count < range.all) {
    for (int k = 0; k < kPack; ++k) carried[k] = sums[k];
  } else {
    Pack<T, kPack> pack;
    for (int k = 0; k < kPack; ++k) pack.items[k] = narrow<T>(sums[k] / divisor);
    store_pack(out, pack);
  }
}

// The rows of a range that a block owns, and the packs of columns in them.
struct Tile {
  int64_t first_row;
  int items, packs;

  HMEG_DEVICE Tile(int64_t block, int rows_per_block, int64_t rows, int64_t packs)
      : first_row(block * rows_per_block), packs(static_cast<int>(packs)) {
    const int64_t left = rows - first_row;
    items = static_cast<int>(left < rows_per_block ? left : rows_per_block) * this->packs;
  }
  HMEG_DEVICE int64_t row(int item) const { return first_row + item / packs; }
  HMEG_DEVICE int64_t pack(int item) const { return item % packs; }
};

// hidden (count, width) = ReLU(projected[0, subject] + own + projected[1, object]). own: the row of `table` that
// edge_type names, or without a table what `hidden` held before.
template <typename T, int kPack>
HMEG_KERNEL triple_message_hidden(const T* projected, const T* table, const int64_t* edge_index,
                                  const int64_t* edge_type, T* hidden, EdgeRange range, int64_t nodes, int64_t width,
                                  int rows_per_block) {
  using A = Accumulator<T>;
  const Tile tile(block_index(), rows_per_block, range.count, width / kPack);
  for (int item = thread_index(); item < tile.items; item += kBlock) {
    const int64_t row = tile.row(item), column = tile.pack(item) * kPack, edge = range.first + row;
    const int64_t subject = edge_index[edge], object = edge_index[range.all + edge];
    T* const target = hidden + row * width + column;
    A of_subject[kPack], own[kPack], of_object[kPack];
    widen_pack(of_subject, projected + subject * width + column);
    widen_pack(of_object, projected + (nodes + object) * width + column);
    widen_pack(own, table == nullptr ? target : table + edge_type[edge] * width + column);
    Pack<T, kPack> result;
    for (int k = 0; k < kPack; ++k) result.items[k] = narrow<T>(relu(of_subject[k] + own[k] + of_object[k]));
    store_pack(target, result);
  }
}

// products (count, 2 width [+ out between]) of a range of edges -> pooled (nodes, width) and, where wanted, new_edges
// and signs. A block for each node, then, with new_edges, one for every rows_per_block edges.
template <typename T, int kPack>
HMEG_KERNEL triple_message_pool(const T* products, const T* bias, EdgeLists subjects, EdgeLists objects,
                                Accumulator<T>* carried, T* pooled, T* new_edges, uint32_t* signs, EdgeRange range,
                                int64_t nodes, int64_t width, int64_t out, bool average, int rows_per_block) {
  using A = Accumulator<T>;
  const int64_t own = new_edges == nullptr ? 0 : out, stride = 2 * width + own;
  const int64_t words = (width + 31) / 32, own_words = (own + 31) / 32, all_words = 2 * words + own_words;
  if (block_index() < nodes) {
    HMEG_SHARED(A, as_object, kOwners * kPack);
    const int64_t node = block_index();
    const int owner = thread_index() % kOwners;
    const bool object = thread_index() >= kOwners;
    const EdgeLists lists = either(object, objects, subjects);
    const int64_t degree = subjects.degree(node) + objects.degree(node);
    const A divisor = average && degree > 1 ? A(degree) : A(1);
    const int64_t part = object ? width + own : 0;
    const Signs kept{signs, all_words, object ? words : 0};
    for (int64_t begin = 0; begin < width; begin += kOwners * kPack) {
      const int64_t column = begin + owner * kPack, at = node * width + column;
      A sums[kPack] = {};
      if (column < width && !object) carry_in(sums, carried + at, range);
      add_activations(sums, lists, node, range, products + part, stride, bias + part, column, width, kept);
      if (object) {
        for (int k = 0; k < kPack; ++k) as_object[owner * kPack + k] = sums[k];
      }
      sync_block();
      if (column < width && !object) {
        for (int k = 0; k < kPack; ++k) sums[k] += as_object[owner * kPack + k];
        carry_out<T>(sums, carried + at, pooled + at, range, divisor);
      }
      sync_block();
    }
  } else {
    // Packs are counted to the end of the last word, so that the lanes of a word are neighbours.
    const Tile tile(block_index() - nodes, rows_per_block, range.count, own_words * (32 / kPack));
    const Signs kept{signs, all_words, 2 * words};
    for (int base = 0; base < tile.items; base += kBlock) {
      const int item = base + thread_index();
      const int64_t row = tile.row(item), column = tile.pack(item) * kPack;
      const bool active = item < tile.items && column < out;
      A values[kPack] = {};
      if (active) {
        A offset[kPack];
        widen_pack(values, products + row * stride + width + column);
        widen_pack(offset, bias + width + column);
        Pack<T, kPack> result;
        for (int k = 0; k < kPack; ++k) {
          values[k] += offset[k];
          result.items[k] = narrow<T>(relu(values[k]));
        }
        store_pack(new_edges + (range.first + row) * out + column, result);
      }
      if (signs != nullptr) {
        const uint32_t word = sign_word(values);
        if (active && keeps_word<kPack>()) *kept.word(range.first + row, column) = word;
      }
    }
  }
}

// grad_products (count, 2 width [+ own between]): the gradients of a node's sums, as subject and as object, and of an
// edge's own output, where ReLU let them through.
template <typename T, int kPack>
HMEG_KERNEL triple_message_grad_products(const uint32_t* signs, const T* grad_pooled, const T* grad_edges,
                                         const int64_t* edge_index, T* grad_products, EdgeRange range, int64_t width,
                                         int64_t own, int rows_per_block) {
  using A = Accumulator<T>;
  const int64_t words = (width + 31) / 32, all_words = 2 * words + (own + 31) / 32, stride = 2 * width + own;
  const Tile tile(block_index(), rows_per_block, range.count, stride / kPack);
  for (int item = thread_index(); item < tile.items; item += kBlock) {
    const int64_t row = tile.row(item), column = tile.pack(item) * kPack, edge = range.first + row;
    const T* grad;
    int64_t word, within;
    if (column < width) {
      within = column;
      word = within / 32;
      grad = grad_pooled + edge_index[edge] * width + within;
    } else if (column < width + own) {
      within = column - width;
      word = 2 * words + within / 32;
      grad = grad_edges + edge * own + within;
    } else {
      within = column - width - own;
      word = words + within / 32;
      grad = grad_pooled + edge_index[range.all + edge] * width + within;
    }
    const uint32_t bits = signs[edge * all_words + word] >> (within % 32);
    Pack<T, kPack> result = load_pack<kPack>(grad);
    for (int k = 0; k < kPack; ++k) {
      if ((bits >> k & 1u) == 0) result.items[k] = narrow<T>(A(0));
    }
    store_pack(grad_products + row * stride + column, result);
  }
}

// rows (count, width) of a range of edges -> collected (2, nodes, width): sums over a node's edges as subject and as
// object.
template <typename T, int kPack>
HMEG_KERNEL triple_message_collect(const T* rows, EdgeLists subjects, EdgeLists objects, Accumulator<T>* carried,
                                   T* collected, EdgeRange range, int64_t nodes, int64_t width) {
  using A = Accumulator<T>;
  const bool object = thread_index() >= kOwners;
  const EdgeLists lists = either(object, objects, subjects);
  const Piece piece(lists, block_index(), range);
  for (int64_t column = thread_index() % kOwners * kPack; column < width; column += kOwners * kPack) {
    const int64_t at = ((object ? nodes : 0) + block_index()) * width + column;
    A sums[kPack];
    carry_in(sums, carried + at, range);
    for (int64_t position = piece.begin; position < piece.end; ++position) {
      A values[kPack];
      widen_pack(values, rows + (lists.edges[position] - range.first) * width + column);
      for (int k = 0; k < kPack; ++k) sums[k] += values[k];
    }
    carry_out<T>(sums, carried + at, collected + at, range, A(1));
  }
}

// Rows of `width` items for one block: about kItemsPerThread packs for each of its threads.
int rows_of_block(int64_t width, int pack) {
  const int64_t packs = width / pack > 0 ? width / pack : 1;
  const int64_t rows = kBlock * kItemsPerThread / packs;
  return static_cast<int>(rows > 1 ? rows : 1);
}

int64_t blocks_of(int64_t rows, int rows_per_block) { return (rows + rows_per_block - 1) / rows_per_block; }

template <typename T>
bool rows_fit(const T* base, int64_t width) {
  return packs_fit<16 / sizeof(T)>(base, width);
}

// Calls body(pack size) with packs of 16 bytes if they fit all rows, else of one item.
template <typename T, typename Body>
const char* with_pack(bool fit, Body body) {
  if (fit) return body(std::integral_constant<int, 16 / sizeof(T)>{});
  return body(std::integral_constant<int, 1>{});
}

const char* run_hidden(const TripleMessageHidden& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto *const of_nodes = static_cast<const T*>(given.projected), *const of_types =
                                                                             static_cast<const T*>(given.table);
    auto* const out = static_cast<T*>(given.hidden);
    const bool fit = rows_fit(of_nodes, given.width) && rows_fit(of_types, given.width) && rows_fit(out, given.width);
    return with_pack<T>(fit, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const int rows = rows_of_block(given.width, kPack);
      return launch<kBlock>(triple_message_hidden<T, kPack>, blocks_of(given.count, rows), call.stream, of_nodes,
                            of_types, given.edge_index, given.edge_type, out,
                            EdgeRange{given.first, given.count, given.edges}, given.nodes, given.width, rows);
    });
  });
}

HMEG_ENTRY(kCuda, triple_message_hidden, run_hidden);

const char* run_pool(const TripleMessagePool& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto *const in = static_cast<const T*>(given.products), *const offset = static_cast<const T*>(given.bias);
    auto *const sums = static_cast<T*>(given.pooled), *const own = static_cast<T*>(given.new_edges);
    const bool fit = rows_fit(in, given.width) && rows_fit(offset, given.width) && rows_fit(sums, given.width) &&
                     (own == nullptr || rows_fit(own, given.out));
    return with_pack<T>(fit, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const int rows = rows_of_block(given.out, kPack);
      const int64_t blocks = given.nodes + (own == nullptr ? 0 : blocks_of(given.count, rows));
      return launch<kBlock>(triple_message_pool<T, kPack>, blocks, call.stream, in, offset,
                            EdgeLists{given.subject_rows, given.subject_edges},
                            EdgeLists{given.object_rows, given.object_edges},
                            reinterpret_cast<Accumulator<T>*>(given.carried), sums, own,
                            reinterpret_cast<uint32_t*>(given.signs), EdgeRange{given.first, given.count, given.edges},
                            given.nodes, given.width, given.out, given.average != 0, rows);
    });
  });
}

HMEG_ENTRY(kCuda, triple_message_pool, run_pool);

const char* run_grad_products(const TripleMessageGradProducts& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto *const of_sums = static_cast<const T*>(given.grad_pooled), *const of_edges =
                                                                              static_cast<const T*>(given.grad_edges);
    auto* const out = static_cast<T*>(given.grad_products);
    const bool fit = rows_fit(of_sums, given.width) && rows_fit(of_edges, given.own) && rows_fit(out, given.width);
    return with_pack<T>(fit, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const int rows = rows_of_block(2 * given.width + given.own, kPack);
      return launch<kBlock>(triple_message_grad_products<T, kPack>, blocks_of(given.count, rows), call.stream,
                            reinterpret_cast<const uint32_t*>(given.signs), of_sums, of_edges, given.edge_index, out,
                            EdgeRange{given.first, given.count, given.edges}, given.width, given.own, rows);
    });
  });
}

HMEG_ENTRY(kCuda, triple_message_grad_products, run_grad_products);

const char* run_collect(const TripleMessageCollect& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto* const in = static_cast<const T*>(given.rows);
    auto* const out = static_cast<T*>(given.collected);
    return with_pack<T>(rows_fit(in, given.width) && rows_fit(out, given.width), [&](auto pack) {
      return launch<kBlock>(triple_message_collect<T, decltype(pack)::value>, given.nodes, call.stream, in,
                            EdgeLists{given.subject_rows, given.subject_edges},
                            EdgeLists{given.object_rows, given.object_edges},
                            reinterpret_cast<Accumulator<T>*>(given.carried), out,
                            EdgeRange{given.first, given.count, given.edges}, given.nodes, given.width);
    });
  });
}

HMEG_ENTRY(kCuda, triple_message_collect, run_collect);

}  // namespace
}  // namespace hmeg
