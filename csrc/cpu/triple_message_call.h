// What both passes of triple_message are given on the CPU, and the tiles that its edges go by in.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/variants.h"

namespace hmeg::cpu {

// Edges of a product that one thread does at a time, where there are more threads than panels. A multiple of what goes
// together in a product, which must not depend on the number of threads.
constexpr int64_t kMessageRange = 128;

inline int64_t divided_up(int64_t count, int64_t by) { return (count + by - 1) / by; }
inline int64_t rounded_up(int64_t count, int64_t by) { return divided_up(count, by) * by; }

// As the entry points have it.
struct MessageGiven {
  const void *from_subject, *from_object, *from_type, *edge_attr, *w1, *w2;
  const int64_t *subject, *object, *type;
  int64_t edges, channels, hidden, out, w1_step, object_row;
};

struct MessageGrads {
  const void *grad_pooled, *grad_edges;
  const int32_t* signs;
  void *for_subject, *for_object, *for_type, *for_edge_attr, *for_w1, *for_w2, *for_b2;
};

// The instruction set that multiplies, and the number of bfloat16 parts of a float32 where it is AMX's.
struct MessageWay {
  Variant variant;
  int64_t parts;
};

// Sizes that a plan of memory depends on.
struct MessageShape {
  int64_t edges, channels, hidden, out;
  bool types;
  int64_t threads;
};

// Whether a thread makes outputs of one panel and pools them, or all make them by ranges of edges, because there are
// more threads than panels.
inline bool by_ranges(const MessageShape& shape, int64_t width) {
  return shape.threads > divided_up(shape.hidden, width);
}

// Edges in tiles of nearly the same size, `most` at most.
struct EdgeTiles {
  int64_t edges, count, capacity;
  EdgeTiles(int64_t all, int64_t most)
      : edges(all), count(divided_up(all, most)), capacity(count > 0 ? divided_up(all, count) : 0) {}
  int64_t begin(int64_t i) const { return edges * i / count; }
};

}  // namespace hmeg::cpu
