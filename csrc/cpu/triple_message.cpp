// triple_message on the CPU, all that is done per edge. Edges go by in tiles; of each, work is shared out by chunks of
// edges, by panels of columns or by both, such that nobody else writes there. Sums over edges are taken by the owner of
// their columns in the order of the edges, so results do not depend on the number of threads.
#include "triple_message.h"

#include <algorithm>

#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/simd/triple_message_simd.h"
#include "cpu/variants.h"
#include "cpu/workspace.h"

namespace hmeg::cpu {
namespace {

// Edges of a tile: their hidden activations take 1 MB at the published sizes.
constexpr int64_t kTile = 512;
// Edges of a product that one thread does at a time, where there are more threads than panels. Even: products go by
// pairs of edges, and which edges make a pair must not depend on the number of threads.
constexpr int64_t kRange = 128;

int64_t divided_up(int64_t count, int64_t by) { return (count + by - 1) / by; }

// Panels, and blocks of depth.
template <typename T>
struct Sizes {
  int64_t width = 0, depth = 0;
  explicit Sizes(Variant variant) {
    HMEG_VARIANT_CALL(variant, triple_message_sizes, static_cast<const T*>(nullptr), &width, &depth);
  }
  int64_t panels(int64_t columns) const { return divided_up(columns, width); }
  int64_t blocks(int64_t rows) const { return divided_up(rows, depth); }
  int64_t panel() const { return width * depth; }
};

// Edges in tiles of nearly the same size.
struct Tiles {
  int64_t edges, count, capacity;
  explicit Tiles(int64_t all)
      : edges(all), count(divided_up(all, kTile)), capacity(count > 0 ? divided_up(all, count) : 0) {}
  int64_t begin(int64_t i) const { return edges * i / count; }
};

// What both passes are given, as the entry points have it.
struct Given {
  const void *from_subject, *from_object, *from_type, *edge_attr, *w1, *w2;
  const int64_t *subject, *object, *type;
  int64_t edges, channels, hidden, out, w1_step, object_row;
};

struct Grads {
  const void *grad_pooled, *grad_edges;
  const int32_t* signs;
  void *for_subject, *for_object, *for_type, *for_edge_attr, *for_w1, *for_w2, *for_b2;
};

// Memory of the forward pass.
template <typename T>
struct ForwardPlan {
  T *w1_panels, *w2_panels, *active, *outputs;
  uint64_t* bits;
  bool by_ranges;  // products by ranges of edges into `outputs` of all panels; else a thread has outputs of one panel
  bool packed;     // whether W2 is in w2_panels

  ForwardPlan(Workspace& workspace, const Sizes<T>& sizes, const Tiles& tiles, int64_t channels, int64_t hidden,
              int64_t out, bool types, int64_t threads) {
    const int64_t node_panels = sizes.panels(hidden), panels = 2 * node_panels + sizes.panels(out);
    by_ranges = threads > node_panels;
    w1_panels = workspace.take<T>(types ? 0 : node_panels * sizes.blocks(channels) * sizes.panel());
    packed = by_ranges || tiles.count > 1;
    w2_panels = workspace.take<T>(packed ? panels * sizes.blocks(hidden) * sizes.panel() : 0);
    active = workspace.take<T>(node_panels * tiles.capacity * sizes.width);
    bits = workspace.take<uint64_t>(sizes.blocks(node_panels * sizes.width) * tiles.capacity);
    outputs = workspace.take<T>((by_ranges ? panels : threads) * tiles.capacity * sizes.width);
  }
};

// Memory of the backward pass.
template <typename T>
struct BackwardPlan {
  T *w1_panels, *w1_columns, *w2_panels, *active, *grad_active, *products, *product_sums, *attr, *edge_rows;
  uint64_t *bits, *product_bits, *attr_bits;
  bool packed;  // whether W2 is in w2_panels

  BackwardPlan(Workspace& workspace, const Sizes<T>& sizes, const Tiles& tiles, int64_t channels, int64_t hidden,
               int64_t out, bool types, int64_t threads) {
    const int64_t panels = sizes.panels(hidden), chunks = sizes.blocks(tiles.capacity), columns = 2 * hidden + out;
    const int64_t own = types ? 0 : channels;
    w1_panels = workspace.take<T>(panels * sizes.blocks(own) * sizes.panel());
    w1_columns = workspace.take<T>(sizes.panels(own) * sizes.blocks(hidden) * sizes.panel());
    packed = tiles.capacity > 2 * kRange;
    const int64_t blocks = 2 * sizes.blocks(hidden) + sizes.blocks(out);
    w2_panels = workspace.take<T>(packed ? panels * blocks * sizes.panel() : 0);
    active = workspace.take<T>(panels * tiles.capacity * sizes.width);
    grad_active = workspace.take<T>(panels * tiles.capacity * sizes.width);
    products = workspace.take<T>(chunks * columns * sizes.depth);
    product_sums = workspace.take<T>(chunks * columns);
    attr = workspace.take<T>(chunks * own * sizes.depth);
    edge_rows = workspace.take<T>(types ? 0 : threads * sizes.panel());
    bits = workspace.take<uint64_t>(sizes.blocks(panels * sizes.width) * tiles.capacity);
    product_bits = workspace.take<uint64_t>(chunks * columns);
    attr_bits = workspace.take<uint64_t>(chunks * own);
  }
};

template <typename T>
MessageTile<T> tile_at(const Tiles& tiles, int64_t i, const T* edge_attr, int64_t channels, const int64_t* subject,
                       const int64_t* object, const int64_t* type, T* active, uint64_t* bits) {
  const int64_t begin = tiles.begin(i);
  return {tiles.begin(i + 1) - begin, tiles.capacity, subject + begin, object + begin,
          type == nullptr ? nullptr : type + begin, type == nullptr ? edge_attr + begin * channels : nullptr,
          active, bits};
}

// Panels of B (rows, columns) with B[j, w] = from[j * by_row + w * by_column], one after another.
template <typename T>
struct Packing {
  const T* from;
  int64_t by_row, by_column, rows, columns;
  T* panels;
  int64_t stride;  // blocks from one panel of columns to the next
};

template <typename T>
void pack(Variant chosen, const Sizes<T>& sizes, const Packing<T>& packing, int64_t threads) {
  const int64_t blocks = sizes.blocks(packing.rows);
  parallel_for(sizes.panels(packing.columns) * blocks, 1, threads, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t panel = item / blocks, block = item % blocks;
      HMEG_VARIANT_CALL(chosen, triple_message_pack,
                        packing.from + block * sizes.depth * packing.by_row + panel * sizes.width * packing.by_column,
                        packing.by_row, packing.by_column, std::min(sizes.depth, packing.rows - block * sizes.depth),
                        packing.columns - panel * sizes.width,
                        packing.panels + (panel * packing.stride + block) * sizes.panel());
    }
  });
}

template <typename T>
void forward(Variant chosen, const Given& given, const T* bias, T* pooled, T* new_edges, int32_t* signs,
             void* memory, int64_t threads) {
  if (given.edges == 0) return;
  const Sizes<T> sizes(chosen);
  const Tiles tiles(given.edges);
  const bool types = given.type != nullptr;
  const int64_t channels = given.channels, hidden = given.hidden, out = given.out;
  const int64_t words = 2 * divided_up(hidden, 32) + divided_up(out, 32);
  Workspace workspace(memory);
  const ForwardPlan<T> plan(workspace, sizes, tiles, channels, hidden, out, types, threads);
  const auto* const w1 = static_cast<const T*>(given.w1);
  const auto* const w2 = static_cast<const T*>(given.w2);
  const auto* const edge_attr = static_cast<const T*>(given.edge_attr);
  const int64_t node_panels = sizes.panels(hidden), edge_panels = sizes.panels(out), blocks = sizes.blocks(hidden);
  if (!types) {
    pack<T>(chosen, sizes, {w1, 1, given.w1_step, channels, hidden, plan.w1_panels, sizes.blocks(channels)}, threads);
  }
  const int64_t first_rows[] = {0, given.object_row, hidden}, part_widths[] = {hidden, hidden, out};
  for (int part = 0; plan.packed && part < 3; ++part) {
    pack<T>(chosen, sizes, {w2 + first_rows[part] * hidden, 1, hidden, hidden, part_widths[part],
            plan.w2_panels + part * node_panels * blocks * sizes.panel(), blocks}, threads);
  }
  const MessageLayer<T> layer{channels, hidden, out, given.object_row, static_cast<const T*>(given.from_subject),
                              static_cast<const T*>(given.from_object), static_cast<const T*>(given.from_type),
                              plan.w1_panels, w2, plan.packed ? plan.w2_panels : nullptr, bias};
  for (int64_t i = 0; i < tiles.count; ++i) {
    const int64_t begin = tiles.begin(i);
    const MessageTile<T> tile =
        tile_at(tiles, i, edge_attr, channels, given.subject, given.object, given.type, plan.active, plan.bits);
    const MessagePool<T> to{pooled, new_edges == nullptr ? nullptr : new_edges + begin * out,
                            signs == nullptr ? nullptr : signs + begin * words};
    parallel_for(sizes.blocks(tile.edges), 1, threads, [&](int64_t first, int64_t last, int64_t) {
      for (int64_t chunk = first; chunk < last; ++chunk) {
        HMEG_VARIANT_CALL(chosen, triple_message_hidden, layer, tile, chunk * sizes.depth,
                          std::min((chunk + 1) * sizes.depth, tile.edges));
      }
    });
    const int64_t panel_size = tile.capacity * sizes.width;
    if (plan.by_ranges) {
      const int64_t ranges = divided_up(tile.edges, kRange);
      parallel_for((2 * node_panels + edge_panels) * ranges, 1, threads, [&](int64_t first, int64_t last, int64_t) {
        for (int64_t item = first; item < last; ++item) {
          const int64_t panel = item / ranges, from = item % ranges * kRange;
          HMEG_VARIANT_CALL(chosen, triple_message_outputs, layer, tile, panel, from,
                            std::min(from + kRange, tile.edges),
                            plan.outputs + panel * panel_size + from * sizes.width);
        }
      });
    }
    // Edges by halves, so that work comes in pieces of about the same size.
    const int64_t half = (tile.edges + 3) / 4 * 2;
    parallel_for(node_panels + 2 * edge_panels, 1, threads, [&](int64_t first, int64_t last, int64_t worker) {
      for (int64_t item = first; item < last; ++item) {
        if (item < node_panels) {  // both parts add to the same columns: one thread, one after the other
          for (int64_t part = 0; part < 2; ++part) {
            const int64_t panel = part * node_panels + item;
            T* const outputs = plan.outputs + (plan.by_ranges ? panel : worker) * panel_size;
            if (!plan.by_ranges) {
              HMEG_VARIANT_CALL(chosen, triple_message_outputs, layer, tile, panel, 0, tile.edges, outputs);
            }
            HMEG_VARIANT_CALL(chosen, triple_message_pool, layer, tile, to, item, part, outputs);
          }
        } else {
          const int64_t edge_panel = (item - node_panels) / 2, panel = 2 * node_panels + edge_panel;
          const int64_t from = (item - node_panels) % 2 * half, end = std::min(from + half, tile.edges);
          T* const outputs = plan.outputs + (plan.by_ranges ? panel * panel_size + from * sizes.width
                                                            : worker * panel_size);
          if (!plan.by_ranges) {
            HMEG_VARIANT_CALL(chosen, triple_message_outputs, layer, tile, panel, from, end, outputs);
          }
          HMEG_VARIANT_CALL(chosen, triple_message_keep, layer, tile, to, edge_panel, from, end, outputs);
        }
      }
    });
  }
}

template <typename T>
void backward(Variant chosen, const Given& given, const Grads& grads, void* memory,
              int64_t threads) {
  if (given.edges == 0) return;
  const Sizes<T> sizes(chosen);
  const Tiles tiles(given.edges);
  const bool types = given.type != nullptr;
  const int64_t channels = given.channels, hidden = given.hidden, out = given.out;
  const int64_t words = 2 * divided_up(hidden, 32) + divided_up(out, 32), columns = 2 * hidden + out;
  Workspace workspace(memory);
  const BackwardPlan<T> plan(workspace, sizes, tiles, channels, hidden, out, types, threads);
  const auto* const w1 = static_cast<const T*>(given.w1);
  const auto* const w2 = static_cast<const T*>(given.w2);
  const auto* const edge_attr = static_cast<const T*>(given.edge_attr);
  auto* const for_edge_attr = static_cast<T*>(grads.for_edge_attr);
  auto* const for_b2 = static_cast<T*>(grads.for_b2);
  const int64_t panels = sizes.panels(hidden), blocks = sizes.blocks(hidden);
  const int64_t rows[] = {0, given.object_row, hidden}, widths[] = {hidden, hidden, out};
  if (!types) {
    pack<T>(chosen, sizes, {w1, 1, given.w1_step, channels, hidden, plan.w1_panels, sizes.blocks(channels)}, threads);
    pack<T>(chosen, sizes, {w1, given.w1_step, 1, hidden, channels, plan.w1_columns, blocks}, threads);
  }
  for (int part = 0; plan.packed && part < 3; ++part) {
    pack<T>(chosen, sizes, {w2 + rows[part] * hidden, hidden, 1, widths[part], hidden,
            plan.w2_panels + part * blocks * sizes.panel(), 2 * blocks + sizes.blocks(out)}, threads);
  }
  const MessageLayer<T> layer{channels, hidden, out, given.object_row, static_cast<const T*>(given.from_subject),
                              static_cast<const T*>(given.from_object), static_cast<const T*>(given.from_type),
                              plan.w1_panels, w2, plan.packed ? plan.w2_panels : nullptr, nullptr};
  for (int64_t i = 0; i < tiles.count; ++i) {
    const int64_t begin = tiles.begin(i);
    const MessageTile<T> tile =
        tile_at(tiles, i, edge_attr, channels, given.subject, given.object, given.type, plan.active, plan.bits);
    const MessageGrad<T> grad{static_cast<const T*>(grads.grad_pooled),
                              static_cast<const T*>(grads.grad_edges) + begin * out,
                              static_cast<const int32_t*>(grads.signs) + begin * words,
                              plan.products,
                              plan.product_bits,
                              plan.product_sums,
                              plan.attr,
                              plan.attr_bits,
                              plan.grad_active,
                              plan.w1_columns,
                              static_cast<T*>(grads.for_subject),
                              static_cast<T*>(grads.for_object),
                              static_cast<T*>(grads.for_type),
                              static_cast<T*>(grads.for_w2),
                              types ? nullptr : for_edge_attr + begin * channels,
                              static_cast<T*>(grads.for_w1),
                              i > 0};
    const int64_t chunks = sizes.blocks(tile.edges);
    parallel_for(chunks, 1, threads, [&](int64_t first, int64_t last, int64_t) {
      for (int64_t chunk = first; chunk < last; ++chunk) {
        HMEG_VARIANT_CALL(chosen, triple_message_hidden, layer, tile, chunk * sizes.depth,
                          std::min((chunk + 1) * sizes.depth, tile.edges));
        HMEG_VARIANT_CALL(chosen, triple_message_unpool, layer, tile, grad, chunk);
      }
    });
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const T* sum = plan.product_sums + chunk * columns;
      for (int part : {0, 1, 2}) {
        for (int64_t c = 0; c < widths[part]; ++c) for_b2[rows[part] + c] += *sum++;
      }
    }
    const int64_t ranges = divided_up(tile.edges, kRange), products = panels * ranges;
    parallel_for(products + 3 * panels, 1, threads, [&](int64_t first, int64_t last, int64_t) {
      for (int64_t item = first; item < last; ++item) {
        if (item < 3 * panels) {
          HMEG_VARIANT_CALL(chosen, triple_message_grad_w2, layer, tile, grad, item % panels, item / panels);
        } else {
          const int64_t panel = (item - 3 * panels) / ranges, from = (item - 3 * panels) % ranges * kRange;
          HMEG_VARIANT_CALL(chosen, triple_message_grad_active, layer, tile, grad, panel, from,
                            std::min(from + kRange, tile.edges));
        }
      }
    });
    const int64_t sums = types ? panels : 2 * panels;
    parallel_for(sums + (types ? 0 : chunks), 1, threads, [&](int64_t first, int64_t last, int64_t worker) {
      for (int64_t item = first; item < last; ++item) {
        if (item < panels) {
          HMEG_VARIANT_CALL(chosen, triple_message_scatter, layer, tile, grad, item);
        } else if (item < sums) {
          HMEG_VARIANT_CALL(chosen, triple_message_grad_w1, layer, tile, grad, item - panels);
        } else {
          const int64_t chunk = item - sums;
          HMEG_VARIANT_CALL(chosen, triple_message_grad_edge_attr, layer, tile, grad, chunk * sizes.depth,
                            std::min((chunk + 1) * sizes.depth, tile.edges),
                            plan.edge_rows + worker * sizes.panel());
        }
      }
    });
  }
}

template <template <typename> class Plan>
int64_t bytes(int64_t dtype, int64_t edges, int64_t channels, int64_t hidden, int64_t out, int64_t types,
              int64_t threads, int64_t variant) {
  int64_t result = 0;
  with_scalar_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    Workspace workspace;
    Plan<T>(workspace, Sizes<T>(checked_variant(variant)), Tiles(edges), channels, hidden, out, types != 0, threads);
    result = workspace.bytes();
  });
  return result;
}

}  // namespace
}  // namespace hmeg::cpu

int64_t hmeg_cpu_triple_message_forward_workspace(int64_t dtype, int64_t edges, int64_t channels, int64_t hidden,
                                                  int64_t out, int64_t types, int64_t variant, int64_t threads) {
  using namespace hmeg::cpu;
  return bytes<ForwardPlan>(dtype, edges, channels, hidden, out, types, threads, variant);
}

int64_t hmeg_cpu_triple_message_backward_workspace(int64_t dtype, int64_t edges, int64_t channels, int64_t hidden,
                                                   int64_t out, int64_t types, int64_t variant, int64_t threads) {
  using namespace hmeg::cpu;
  return bytes<BackwardPlan>(dtype, edges, channels, hidden, out, types, threads, variant);
}

const char* hmeg_cpu_triple_message_forward(int64_t dtype, const void* from_subject, const void* from_object,
                                            const void* from_type, const void* edge_attr, const void* w1,
                                            const void* w2, const void* b2, const int64_t* subject,
                                            const int64_t* object, const int64_t* type, void* pooled, void* new_edges,
                                            int32_t* signs, void* workspace, int64_t edges, int64_t channels,
                                            int64_t hidden, int64_t out, int64_t w1_step, int64_t object_row,
                                            int64_t threads, int64_t variant) {
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    const Given given{from_subject, from_object, from_type, edge_attr, w1,  w2,      subject,   object,
                      type,         edges,       channels,  hidden,    out, w1_step, object_row};
    with_scalar_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      forward(chosen, given, static_cast<const T*>(b2), static_cast<T*>(pooled), static_cast<T*>(new_edges), signs,
              workspace, threads);
    });
  });
}

const char* hmeg_cpu_triple_message_backward(int64_t dtype, const void* from_subject, const void* from_object,
                                             const void* from_type, const void* edge_attr, const void* w1,
                                             const void* w2, const int64_t* subject, const int64_t* object,
                                             const int64_t* type, const void* grad_pooled, const void* grad_edges,
                                             const int32_t* signs, void* for_subject, void* for_object, void* for_type,
                                             void* for_edge_attr, void* for_w1, void* for_w2, void* for_b2,
                                             void* workspace, int64_t edges, int64_t channels, int64_t hidden,
                                             int64_t out, int64_t w1_step, int64_t object_row, int64_t threads,
                                             int64_t variant) {
  using namespace hmeg::cpu;
  return message_of([&] {
    const Variant chosen = checked_variant(variant);
    const Given given{from_subject, from_object, from_type, edge_attr, w1,  w2,      subject,   object,
                      type,         edges,       channels,  hidden,    out, w1_step, object_row};
    const Grads grads{grad_pooled, grad_edges,    signs,  for_subject, for_object,
                      for_type,    for_edge_attr, for_w1, for_w2,      for_b2};
    with_scalar_type(dtype, [&](auto zero) { backward<decltype(zero)>(chosen, given, grads, workspace, threads); });
  });
}
