// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
//
// Sampling is separable: a crop's columns read the same two image columns in every row, and its rows the same two image
// rows in every column. So the taps of both axes are computed once for a box; an image row is sampled along x once
// (crops are mostly enlargements, whose rows share image rows) and two such rows are then mixed.
#include "cpu/simd/crop_boxes_simd.h"

#include "cpu/simd/grid_points.h"

#include "crop_boxes.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

constexpr int kLanes = 16;  // independent sums per reduction: enough for the compiler to fill vector registers

// What the samples along one axis read. Sample k lies between elements `low` and `high` (one of them twice where the
// other is outside the image) and is low_weight * low + high_weight * high; its derivative by the position is
// high_slope * high - low_slope * low (slopes 0 or 1). Samples off the image are not alive: all zero.
template <typename T>
struct Taps {
  int32_t* low;
  int32_t* high;
  T* low_weight;
  T* high_weight;
  T* low_slope;
  T* high_slope;
  T* alive;
  T* share;  // t: how much of the position is the end's, the rest being the start's
};

// Lays out a Taps over 8 * count scalars.
template <typename T>
Taps<T> taps_in(T* scratch, int64_t count) {
  return {reinterpret_cast<int32_t*>(scratch),
          reinterpret_cast<int32_t*>(scratch + count),
          scratch + 2 * count,
          scratch + 3 * count,
          scratch + 4 * count,
          scratch + 5 * count,
          scratch + 6 * count,
          scratch + 7 * count};
}

template <typename T>
inline bool is_finite(T value) {
  return value - value == T(0);
}

// A NaN or an infinity among its coordinates spoils all of a crop, as it does in torch's grid_sample.
template <typename T>
inline bool is_finite_box(const T* box) {
  return is_finite(box[0]) && is_finite(box[1]) && is_finite(box[2]) && is_finite(box[3]);
}

// The position of a sample in pixels, in double and in the reference's order of operations: positions decide which
// pixels are read.
inline double position(double start, double end, double share, int64_t size) {
  const double on_grid = (2.0 * start - 1.0) * (1.0 - share) + (2.0 * end - 1.0) * share;
  return ((on_grid + 1.0) * double(size) - 1.0) / 2.0;
}

// Taps of `count` samples from `start` to `end` (in units of the image) along an axis of `size` elements that are
// `stride` apart. Positions far off the image, however far, are compared as doubles and never become an index.
template <typename T>
void find_taps(T start, T end, int64_t count, int64_t size, int64_t stride, const Taps<T>& taps) {
  for (int64_t k = 0; k < count; ++k) {
    const double share = grid_point<double>(k, count);
    const double at = position(double(start), double(end), share, size);
    taps.share[k] = T(share);
    if (!(at >= -1.0 && at < double(size))) {
      taps.low[k] = taps.high[k] = 0;
      taps.low_weight[k] = taps.high_weight[k] = taps.low_slope[k] = taps.high_slope[k] = taps.alive[k] = T(0);
      continue;
    }
    int64_t below = int64_t(at);
    below -= double(below) > at ? 1 : 0;
    const bool has_low = below >= 0, has_high = below + 1 < size;
    const int64_t low = has_low ? below : below + 1, high = has_high ? below + 1 : below;
    taps.low[k] = int32_t(low * stride);
    taps.high[k] = int32_t(high * stride);
    taps.low_weight[k] = has_low ? T(double(below + 1) - at) : T(0);
    taps.high_weight[k] = has_high ? T(at - double(below)) : T(0);
    taps.low_slope[k] = has_low ? T(1) : T(0);
    taps.high_slope[k] = has_high ? T(1) : T(0);
    taps.alive[k] = T(1);
  }
}

// sampled[j] = the row at column sample j. Off the image it is 0, whatever the pixel that is read in its place holds.
template <typename T>
void sample_row(const T* __restrict__ row, const Taps<T>& columns, int64_t count, T* __restrict__ sampled) {
  for (int64_t j = 0; j < count; ++j) {
    const T value = columns.low_weight[j] * row[columns.low[j]] + columns.high_weight[j] * row[columns.high[j]];
    sampled[j] = columns.alive[j] != T(0) ? value : T(0);
  }
}

// The same, with the derivative by the position.
template <typename T>
void sample_row_and_slope(const T* __restrict__ row, const Taps<T>& columns, int64_t count, T* __restrict__ sampled,
                          T* __restrict__ slope) {
  for (int64_t j = 0; j < count; ++j) {
    const T low = row[columns.low[j]], high = row[columns.high[j]];
    const bool alive = columns.alive[j] != T(0);
    const T value = columns.low_weight[j] * low + columns.high_weight[j] * high;
    const T rise = columns.high_slope[j] * high - columns.low_slope[j] * low;
    sampled[j] = alive ? value : T(0);
    slope[j] = alive ? rise : T(0);
  }
}

template <typename T>
void fill(T* to, int64_t count, T value) {
  for (int64_t k = 0; k < count; ++k) to[k] = value;
}

// out = a * low + b * high
template <typename T>
void mix(const T* __restrict__ low, const T* __restrict__ high, T a, T b, int64_t count, T* __restrict__ out) {
  for (int64_t j = 0; j < count; ++j) out[j] = a * low[j] + b * high[j];
}

template <typename T>
void forward(const T* images, const T* boxes, const int64_t* batch, T* crops, int64_t begin, int64_t end,
             const CropSizes& sizes, T* scratch) {
  const int64_t h = sizes.crop_height, w = sizes.crop_width;
  const Taps<T> rows = taps_in(scratch, h), columns = taps_in(scratch + 8 * h, w);
  T* const sampled[2] = {scratch + 8 * (h + w), scratch + 8 * (h + w) + w};  // of even and of odd image rows
  for (int64_t v = begin; v < end; ++v) {
    const T* const box = boxes + 4 * v;
    T* out = crops + v * sizes.channels * h * w;
    if (!is_finite_box(box)) {
      fill(out, sizes.channels * h * w, T(__builtin_nan("")));
      continue;
    }
    find_taps(box[1], box[3], h, sizes.height, 1, rows);
    find_taps(box[0], box[2], w, sizes.width, sizes.column_stride, columns);
    for (int64_t c = 0; c < sizes.channels; ++c) {
      const T* const image = images + batch[v] * sizes.graph_stride + c * sizes.channel_stride;
      int64_t held[2] = {-1, -1};
      const auto row_at = [&](int64_t row) {
        const int64_t slot = row & 1;
        if (held[slot] != row) {
          sample_row(image + row * sizes.row_stride, columns, w, sampled[slot]);
          held[slot] = row;
        }
        return sampled[slot];
      };
      for (int64_t i = 0; i < h; ++i, out += w) {
        if (rows.alive[i] == T(0)) {
          fill(out, w, T(0));
          continue;
        }
        const T* const low = row_at(rows.low[i]);
        const T* const high = row_at(rows.high[i]);
        mix(low, high, rows.low_weight[i], rows.high_weight[i], w, out);
      }
    }
  }
}

// With d = a * low_slope + b * high_slope: column[j] += grad[j] * d[j]; returns the sum of
// grad[j] * (rise_high * high[j] - rise_low * low[j]).
template <typename T>
T accumulate_row(const T* __restrict__ grad, const T* __restrict__ low, const T* __restrict__ high,
                 const T* __restrict__ low_slope, const T* __restrict__ high_slope, T a, T b, T rise_low, T rise_high,
                 int64_t count, T* __restrict__ column) {
  T sums[kLanes] = {};
  const auto step = [&](int64_t j, int lane) {
    sums[lane] += grad[j] * (rise_high * high[j] - rise_low * low[j]);
    column[j] += grad[j] * (a * low_slope[j] + b * high_slope[j]);
  };
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) step(j + lane, lane);
  }
  for (int lane = 0; j < count; ++j, ++lane) step(j, lane);
  T total = T(0);
  for (int lane = 0; lane < kLanes; ++lane) total += sums[lane];
  return total;
}

template <typename T>
void backward_boxes(const T* grad_crops, const T* images, const T* boxes, const int64_t* batch, T* grad_boxes,
                    int64_t begin, int64_t end, const CropSizes& sizes, T* scratch) {
  const int64_t h = sizes.crop_height, w = sizes.crop_width;
  const Taps<T> rows = taps_in(scratch, h), columns = taps_in(scratch + 8 * h, w);
  T* const buffers = scratch + 8 * (h + w);
  T* const sampled[2] = {buffers, buffers + w};
  T* const slope[2] = {buffers + 2 * w, buffers + 3 * w};
  T* const column = buffers + 4 * w;
  for (int64_t v = begin; v < end; ++v) {
    const T* const box = boxes + 4 * v;
    T* const out = grad_boxes + 4 * v;
    if (!is_finite_box(box)) {
      fill(out, 4, T(__builtin_nan("")));
      continue;
    }
    find_taps(box[1], box[3], h, sizes.height, 1, rows);
    find_taps(box[0], box[2], w, sizes.width, sizes.column_stride, columns);
    fill(column, w, T(0));
    T by_y0 = T(0), by_y1 = T(0);
    for (int64_t c = 0; c < sizes.channels; ++c) {
      const T* const image = images + batch[v] * sizes.graph_stride + c * sizes.channel_stride;
      const T* grad = grad_crops + (v * sizes.channels + c) * h * w;
      int64_t held[2] = {-1, -1};
      const auto slot_of = [&](int64_t row) {
        const int64_t slot = row & 1;
        if (held[slot] != row) {
          sample_row_and_slope(image + row * sizes.row_stride, columns, w, sampled[slot], slope[slot]);
          held[slot] = row;
        }
        return slot;
      };
      for (int64_t i = 0; i < h; ++i, grad += w) {
        if (rows.alive[i] == T(0)) continue;
        const int64_t low = slot_of(rows.low[i]), high = slot_of(rows.high[i]);
        const T by_row = accumulate_row(grad, sampled[low], sampled[high], slope[low], slope[high], rows.low_weight[i],
                                        rows.high_weight[i], rows.low_slope[i], rows.high_slope[i], w, column);
        by_y0 += by_row * (T(1) - rows.share[i]);
        by_y1 += by_row * rows.share[i];
      }
    }
    T by_x0 = T(0), by_x1 = T(0);
    for (int64_t j = 0; j < w; ++j) {
      by_x0 += column[j] * (T(1) - columns.share[j]);
      by_x1 += column[j] * columns.share[j];
    }
    const T width = T(sizes.width), height = T(sizes.height);
    out[0] = by_x0 * width, out[1] = by_y0 * height, out[2] = by_x1 * width, out[3] = by_y1 * height;
  }
}

// Adds a row of sums, one a column sample, to the image row it was sampled from.
template <typename T>
void scatter_row(const T* sums, const Taps<T>& columns, int64_t count, T* row) {
  for (int64_t j = 0; j < count; ++j) {
    if (columns.alive[j] == T(0)) continue;
    row[columns.low[j]] += columns.low_weight[j] * sums[j];
    row[columns.high[j]] += columns.high_weight[j] * sums[j];
  }
}

// to = factor * from, or to += factor * from.
template <typename T>
void add_scaled(const T* __restrict__ from, T factor, int64_t count, bool anew, T* __restrict__ to) {
  if (anew) {
    for (int64_t j = 0; j < count; ++j) to[j] = factor * from[j];
  } else {
    for (int64_t j = 0; j < count; ++j) to[j] += factor * from[j];
  }
}

// Whether samples from `start` to `end` can read rows [row, last): generous by more than rounding.
template <typename T>
bool may_reach(T start, T end, int64_t size, int64_t row, int64_t last) {
  const double a = position(double(start), double(end), 0.0, size), b = position(double(start), double(end), 1.0, size);
  return (a < b ? b : a) + 2.0 > double(row) && (a < b ? a : b) - 2.0 < double(last);
}

template <typename T>
void backward_images(const T* grad_crops, const T* boxes, const int64_t* members, int64_t count, T* grad_images,
                     int64_t graph, int64_t row, const CropSizes& sizes, T* scratch) {
  const int64_t h = sizes.crop_height, w = sizes.crop_width;
  const int64_t last = row + kCropBlockRows < sizes.height ? row + kCropBlockRows : sizes.height;
  const Taps<T> rows = taps_in(scratch, h), columns = taps_in(scratch + 8 * h, w);
  T* const sums[2] = {scratch + 8 * (h + w), scratch + 8 * (h + w) + w};  // of the last even and odd image row
  const int64_t plane = sizes.height * sizes.width;
  T* const grad_image = grad_images + graph * sizes.channels * plane;
  for (int64_t c = 0; c < sizes.channels; ++c) {
    fill(grad_image + c * plane + row * sizes.width, (last - row) * sizes.width, T(0));
  }
  for (int64_t m = 0; m < count; ++m) {
    const int64_t v = members[m];
    const T* const box = boxes + 4 * v;
    if (!is_finite_box(box) || !may_reach(box[1], box[3], sizes.height, row, last)) continue;
    find_taps(box[1], box[3], h, sizes.height, 1, rows);
    find_taps(box[0], box[2], w, sizes.width, 1, columns);
    for (int64_t c = 0; c < sizes.channels; ++c) {
      const T* grad = grad_crops + (v * sizes.channels + c) * h * w;
      T* const plane_start = grad_image + c * plane;
      int64_t held[2] = {-1, -1};
      const auto flush = [&](int64_t slot) {
        if (held[slot] >= 0) scatter_row(sums[slot], columns, w, plane_start + held[slot] * sizes.width);
      };
      const auto add = [&](int64_t to, T factor) {
        if (to < row || to >= last) return;
        const int64_t slot = to & 1;
        const bool anew = held[slot] != to;
        if (anew) {
          flush(slot);
          held[slot] = to;
        }
        add_scaled(grad, factor, w, anew, sums[slot]);
      };
      for (int64_t i = 0; i < h; ++i, grad += w) {
        if (rows.low_slope[i] != T(0)) add(rows.low[i], rows.low_weight[i]);
        if (rows.high_slope[i] != T(0)) add(rows.high[i], rows.high_weight[i]);
      }
      flush(0);
      flush(1);
    }
  }
}

}  // namespace

#define HMEG_DEFINE_CROP_BOXES(T)                                                                                      \
  void crop_boxes_forward(const T* images, const T* boxes, const int64_t* batch, T* crops, int64_t begin, int64_t end, \
                          const CropSizes& sizes, T* scratch) {                                                        \
    forward<T>(images, boxes, batch, crops, begin, end, sizes, scratch);                                               \
  }                                                                                                                    \
  void crop_boxes_backward_boxes(const T* grad_crops, const T* images, const T* boxes, const int64_t* batch,           \
                                 T* grad_boxes, int64_t begin, int64_t end, const CropSizes& sizes, T* scratch) {      \
    backward_boxes<T>(grad_crops, images, boxes, batch, grad_boxes, begin, end, sizes, scratch);                       \
  }                                                                                                                    \
  void crop_boxes_backward_images(const T* grad_crops, const T* boxes, const int64_t* members, int64_t count,          \
                                  T* grad_images, int64_t graph, int64_t row, const CropSizes& sizes, T* scratch) {    \
    backward_images<T>(grad_crops, boxes, members, count, grad_images, graph, row, sizes, scratch);                    \
  }

HMEG_DEFINE_CROP_BOXES(float)
HMEG_DEFINE_CROP_BOXES(double)

}  // namespace hmeg::simd::HMEG_SIMD
