// triple_message on the CPU, all that is done per edge. Edges go by in tiles; of each, work is shared out by chunks of
// edges, by panels of columns or by both, such that nobody else writes there at the time. Sums over edges are taken by
// the owner of their columns in the order of the edges, so results do not depend on the number of threads.
//
// How products are taken is up to an engine: triple_message_sparse.h, triple_message_amx.h.
#include "triple_message.h"

#include <algorithm>
#include <type_traits>

#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/triple_message_amx.h"
#include "cpu/triple_message_call.h"
#include "cpu/triple_message_sparse.h"
#include "cpu/variants.h"
#include "workspace.h"
#include "entry.h"

namespace hmeg::cpu {
namespace {

template <typename T>
struct Results {
  T *pooled, *new_edges;
  int32_t* signs;
};

// Edges from which on it pays to make factors for a matrix unit, unless it is asked for by name. W2's take 3.5 MB.
constexpr int64_t kAmxEdges = 1024;

MessageWay way_of(int64_t variant, int64_t parts, int64_t edges) {
  if (parts < 1 || parts > 3) throw std::invalid_argument("a float32 is multiplied in one, two or three parts");
  const Variant chosen = checked_variant(variant);
  return {variant == kBest && chosen == kAmx && edges < kAmxEdges ? kAvx512 : chosen, parts};
}

// Memory of W2's outputs.
template <typename Engine>
typename Engine::Scalar* take_outputs(Workspace& workspace, const Engine& engine, const MessageShape& shape,
                                      const EdgeTiles& tiles) {
  const int64_t panels = 2 * divided_up(shape.hidden, engine.width()) + divided_up(shape.out, engine.width());
  const int64_t count = by_ranges(shape, engine.width()) ? panels : shape.threads;
  return workspace.take<typename Engine::Scalar>(count * Engine::capacity(tiles) * engine.width());
}

// Calls body(engine, tiles) with an engine whose memory is taken from `workspace`.
template <typename Engine, typename Body>
void plan_and_run(MessageWay way, Workspace& workspace, const MessageShape& shape, Body body) {
  const EdgeTiles tiles(shape.edges, Engine::kTile);
  Engine engine(way, workspace, shape, tiles);
  body(engine, tiles);
}

struct Forward {
  template <typename T>
  using Sparse = SparseForward<T>;
#ifdef HMEG_WITH_AMX
  using Amx = AmxForward;
#endif
};

struct Backward {
  template <typename T>
  using Sparse = SparseBackward<T>;
#ifdef HMEG_WITH_AMX
  using Amx = AmxBackward;
#endif
};

template <typename Direction, typename T, typename Body>
void with_engine(MessageWay way, Workspace& workspace, const MessageShape& shape, Body body) {
#ifdef HMEG_WITH_AMX
  if constexpr (std::is_same_v<T, float>) {
    if (way.variant == kAmx) return plan_and_run<typename Direction::Amx>(way, workspace, shape, body);
  }
#endif
  plan_and_run<typename Direction::template Sparse<T>>(way, workspace, shape, body);
}

template <typename Engine>
void give(Engine& engine, const MessageGiven& given, const typename Engine::Scalar* bias) {
  using T = typename Engine::Scalar;
  engine.layer = {given.channels,
                  given.hidden,
                  given.out,
                  given.object_row,
                  static_cast<const T*>(given.from_subject),
                  static_cast<const T*>(given.from_object),
                  static_cast<const T*>(given.from_type),
                  nullptr,
                  static_cast<const T*>(given.w2),
                  nullptr,
                  bias};
  engine.plan_packing(static_cast<const T*>(given.w1), given.w1_step);
}

template <typename Engine>
void start_tile(Engine& engine, const MessageGiven& given, const EdgeTiles& tiles, int64_t i) {
  using T = typename Engine::Scalar;
  const int64_t begin = tiles.begin(i);
  MessageTile<T>& tile = engine.tile;
  tile.edges = tiles.begin(i + 1) - begin;
  tile.capacity = Engine::capacity(tiles);
  tile.subject = given.subject + begin;
  tile.object = given.object + begin;
  tile.type = given.type == nullptr ? nullptr : given.type + begin;
  const auto* const edge_attr = static_cast<const T*>(given.edge_attr);
  tile.edge_attr = given.type == nullptr ? edge_attr + begin * given.channels : nullptr;
}

// What a thread does of a pass: first weights are packed, then there are three phases for every tile. Each thread has
// an engine of its own, which knows the tile that the thread is at.
template <typename Engine>
struct Pass {
  using T = typename Engine::Scalar;
  static constexpr int64_t kPhases = 3;

  Engine engine;
  const EdgeTiles& tiles;
  const MessageGiven& given;
  int64_t at = -1;

  static int64_t phases(const EdgeTiles& tiles) { return 1 + kPhases * tiles.count; }

  // The tile of a phase, and which of its phases this is.
  int64_t tile_of(int64_t phase) const { return (phase - 1) / kPhases; }
  int64_t step_of(int64_t phase) const { return (phase - 1) % kPhases; }
  int64_t chunks() const { return divided_up(engine.tile.edges, engine.depth()); }
  int64_t end_of(int64_t chunk) const { return std::min((chunk + 1) * engine.depth(), engine.tile.edges); }
  int64_t words() const { return 2 * divided_up(given.hidden, 32) + divided_up(given.out, 32); }

  // Whether a tile has begun.
  bool enter(int64_t phase) {
    if (tile_of(phase) == at) return false;
    at = tile_of(phase);
    start_tile(engine, given, tiles, at);
    return true;
  }
};

template <typename Engine>
struct ForwardPass : Pass<Engine> {
  using Base = Pass<Engine>;
  using T = typename Engine::Scalar;
  using Base::engine, Base::given, Base::tiles;

  Results<T> results;
  T* outputs;
  bool ranged;
  MessagePool<T> to{};

  ForwardPass(const Engine& with, const EdgeTiles& all, const MessageGiven& what, const Results<T>& into, T* memory,
              bool by_ranges)
      : Base{with, all, what}, results(into), outputs(memory), ranged(by_ranges) {}

  int64_t node_panels() const { return divided_up(given.hidden, engine.width()); }
  int64_t edge_panels() const { return divided_up(given.out, engine.width()); }
  int64_t ranges() const { return divided_up(engine.tile.edges, kMessageRange); }
  int64_t panel_size() const { return engine.tile.capacity * engine.width(); }

  int64_t items(int64_t phase) {
    if (phase == 0) return engine.pack_items();
    if (this->enter(phase)) {
      const int64_t begin = tiles.begin(this->at);
      to = {results.pooled, results.new_edges == nullptr ? nullptr : results.new_edges + begin * given.out,
            results.signs == nullptr ? nullptr : results.signs + begin * this->words()};
    }
    switch (this->step_of(phase)) {
      case 0:
        return this->chunks();
      case 1:
        return ranged ? (2 * node_panels() + edge_panels()) * ranges() : 0;
      default:
        return node_panels() + 2 * edge_panels();
    }
  }

  void run(int64_t phase, int64_t item, int64_t worker) const {
    if (phase == 0) return engine.pack(item);
    const auto& tile = engine.tile;
    switch (this->step_of(phase)) {
      case 0:
        return engine.hidden(item * engine.depth(), this->end_of(item), worker);
      case 1: {
        const int64_t panel = item / ranges(), from = item % ranges() * kMessageRange;
        return engine.outputs(panel, from, std::min(from + kMessageRange, tile.edges),
                              outputs + panel * panel_size() + from * engine.width());
      }
      default:
        if (item < node_panels()) {  // both parts add to the same columns: one thread, one after the other
          for (int64_t part = 0; part < 2; ++part) {
            const int64_t panel = part * node_panels() + item;
            T* const made = outputs + (ranged ? panel : worker) * panel_size();
            if (!ranged) engine.outputs(panel, 0, tile.edges, made);
            HMEG_VARIANT_CALL(engine.variant, triple_message_pool, engine.layer, tile, to, item, part, made);
          }
        } else {  // edges by halves, so that work comes in pieces of about the same size
          const int64_t half = rounded_up(divided_up(tile.edges, 2), engine.together());
          const int64_t edge_panel = (item - node_panels()) / 2, panel = 2 * node_panels() + edge_panel;
          const int64_t from = (item - node_panels()) % 2 * half, end = std::min(from + half, tile.edges);
          if (from >= end) return;
          T* const made = outputs + (ranged ? panel * panel_size() + from * engine.width() : worker * panel_size());
          if (!ranged) engine.outputs(panel, from, end, made);
          HMEG_VARIANT_CALL(engine.variant, triple_message_keep, engine.layer, tile, to, edge_panel, from, end, made);
        }
    }
  }
};

template <typename Engine>
struct BackwardPass : Pass<Engine> {
  using Base = Pass<Engine>;
  using T = typename Engine::Scalar;
  using Base::engine, Base::given, Base::tiles;

  const MessageGrads& grads;

  BackwardPass(const Engine& with, const EdgeTiles& all, const MessageGiven& what, const MessageGrads& into)
      : Base{with, all, what}, grads(into) {
    MessageGrad<T>& grad = engine.grad;
    grad.grad_pooled = static_cast<const T*>(grads.grad_pooled);
    grad.for_subject = static_cast<T*>(grads.for_subject);
    grad.for_object = static_cast<T*>(grads.for_object);
    grad.for_type = static_cast<T*>(grads.for_type);
    grad.for_w2 = static_cast<T*>(grads.for_w2);
    grad.for_w1 = static_cast<T*>(grads.for_w1);
  }

  bool types() const { return given.type != nullptr; }
  int64_t panels() const { return divided_up(given.hidden, engine.width()); }

  int64_t items(int64_t phase) {
    if (phase == 0) return engine.pack_items();
    if (this->enter(phase)) {
      const int64_t begin = tiles.begin(this->at);
      MessageGrad<T>& grad = engine.grad;
      grad.grad_edges = static_cast<const T*>(grads.grad_edges) + begin * given.out;
      grad.signs = grads.signs + begin * this->words();
      grad.for_edge_attr = types() ? nullptr : static_cast<T*>(grads.for_edge_attr) + begin * given.channels;
      grad.add = this->at > 0;
    }
    switch (this->step_of(phase)) {
      case 0:
        return this->chunks();
      case 1:
        return engine.active_items() + engine.w2_items() + 1;
      default:
        return panels() + (types() ? 0 : engine.w1_items() + this->chunks());
    }
  }

  void run(int64_t phase, int64_t item, int64_t worker) const {
    if (phase == 0) return engine.pack(item);
    switch (this->step_of(phase)) {
      case 0:
        engine.hidden(item * engine.depth(), this->end_of(item), worker);
        return engine.unpool(item);
      case 1:
        if (item < engine.active_items()) return engine.grad_active(item);
        item -= engine.active_items();
        return item < engine.w2_items() ? engine.grad_w2(item) : add_to_b2();
      default:
        if (item < panels()) {
          HMEG_VARIANT_CALL(engine.variant, triple_message_scatter, engine.layer, engine.tile, engine.grad, item);
          return;
        }
        item -= panels();
        if (item < engine.w1_items()) return engine.grad_w1(item);
        item -= engine.w1_items();
        return engine.grad_edge_attr(item * engine.depth(), this->end_of(item), worker);
    }
  }

  void add_to_b2() const {
    const int64_t rows[] = {0, given.object_row, given.hidden}, widths[] = {given.hidden, given.hidden, given.out};
    auto* const for_b2 = static_cast<T*>(grads.for_b2);
    const T* sum = engine.grad.product_sums;
    for (int64_t chunk = 0; chunk < this->chunks(); ++chunk) {
      for (int part : {0, 1, 2}) {
        for (int64_t c = 0; c < widths[part]; ++c) for_b2[rows[part] + c] += *sum++;
      }
    }
  }
};

template <typename P>
MessageShape message_shape(const P& given, const Call& call) {
  return {given.edges, given.channels, given.hidden, given.out, given.type != nullptr, call.threads};
}

template <typename P>
MessageGiven message_given(const P& given) {
  MessageGiven inputs;
  inputs.from_subject = given.from_subject;
  inputs.from_object = given.from_object;
  inputs.from_type = given.from_type;
  inputs.edge_attr = given.edge_attr;
  inputs.w1 = given.w1;
  inputs.w2 = given.w2;
  inputs.subject = given.subject;
  inputs.object = given.object;
  inputs.type = given.type;
  inputs.edges = given.edges;
  inputs.channels = given.channels;
  inputs.hidden = given.hidden;
  inputs.out = given.out;
  inputs.w1_step = given.w1_step;
  inputs.object_row = given.object_row;
  return inputs;
}

MessageGrads message_grads(const TripleMessageBackward& given) {
  MessageGrads grads;
  grads.grad_pooled = given.grad_pooled;
  grads.grad_edges = given.grad_edges;
  grads.signs = given.signs;
  grads.for_subject = given.for_subject;
  grads.for_object = given.for_object;
  grads.for_type = given.for_type;
  grads.for_edge_attr = given.for_edge_attr;
  grads.for_w1 = given.for_w1;
  grads.for_w2 = given.for_w2;
  grads.for_b2 = given.for_b2;
  return grads;
}

int64_t forward_workspace(const TripleMessageForward& given, const Call& call) {
  Workspace workspace;
  const MessageWay way = way_of(call.variant, given.parts, given.edges);
  const MessageShape shape = message_shape(given, call);
  with_scalar_type(call.dtype, [&](auto zero) {
    with_engine<Forward, decltype(zero)>(way, workspace, shape, [&](auto& engine, const EdgeTiles& tiles) {
      take_outputs(workspace, engine, shape, tiles);
    });
  });
  return workspace.bytes();
}

int64_t backward_workspace(const TripleMessageBackward& given, const Call& call) {
  Workspace workspace;
  const MessageWay way = way_of(call.variant, given.parts, given.edges);
  const MessageShape shape = message_shape(given, call);
  with_scalar_type(call.dtype, [&](auto zero) {
    with_engine<Backward, decltype(zero)>(way, workspace, shape, [](auto&, const EdgeTiles&) {});
  });
  return workspace.bytes();
}

const char* run_forward(const TripleMessageForward& given, const Call& call) {
  return message_of([&] {
    const MessageWay way = way_of(call.variant, given.parts, given.edges);
    const MessageShape shape = message_shape(given, call);
    const MessageGiven inputs = message_given(given);
    if (given.edges == 0) return;
    Workspace workspace(call.workspace);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      const Results<T> results{static_cast<T*>(given.pooled), static_cast<T*>(given.new_edges), given.signs};
      with_engine<Forward, T>(way, workspace, shape, [&](auto& engine, const EdgeTiles& tiles) {
        using Engine = std::decay_t<decltype(engine)>;
        give(engine, inputs, static_cast<const T*>(given.b2));
        T* const outputs = take_outputs(workspace, engine, shape, tiles);
        parallel_phases(Pass<Engine>::phases(tiles), call.threads, [&] {
          return ForwardPass<Engine>(engine, tiles, inputs, results, outputs, by_ranges(shape, engine.width()));
        });
      });
    });
  });
}

HMEG_ENTRY(kCpu, triple_message_forward, run_forward, forward_workspace);

const char* run_backward(const TripleMessageBackward& given, const Call& call) {
  return message_of([&] {
    const MessageWay way = way_of(call.variant, given.parts, given.edges);
    const MessageShape shape = message_shape(given, call);
    const MessageGiven inputs = message_given(given);
    const MessageGrads grads = message_grads(given);
    if (given.edges == 0) return;
    Workspace workspace(call.workspace);
    with_scalar_type(call.dtype, [&](auto zero) {
      using T = decltype(zero);
      with_engine<Backward, T>(way, workspace, shape, [&](auto& engine, const EdgeTiles& tiles) {
        using Engine = std::decay_t<decltype(engine)>;
        give(engine, inputs, static_cast<const T*>(nullptr));
        parallel_phases(Pass<Engine>::phases(tiles), call.threads,
                        [&] { return BackwardPass<Engine>(engine, tiles, inputs, grads); });
      });
    });
  });
}

HMEG_ENTRY(kCpu, triple_message_backward, run_backward, backward_workspace);

}  // namespace
}  // namespace hmeg::cpu

bool hmeg::triple_message_by_matrix_unit(int64_t dtype, int64_t edges, int64_t variant) {
  return dtype == kFloat32 && cpu::way_of(variant, 1, edges).variant == cpu::kAmx;
}
