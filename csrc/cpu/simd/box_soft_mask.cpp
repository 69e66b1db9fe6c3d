// Compiled once per instruction set (HMEG_SIMD names it). Only plain loops over raw pointers here: an inline function
// of the standard library, instantiated with AVX-512 in this file, could be the copy that the linker keeps for all.
#include "cpu/simd/box_soft_mask_simd.h"

#include "box_soft_mask.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

constexpr int kLanes = 16;  // independent sums per reduction: enough for the compiler to fill vector registers

// Comparisons are written so that NaN falls through to the result.
template <typename T>
inline T clamp_to_unit(T value) {
  value = value < T(0) ? T(0) : value;
  return value > T(1) ? T(1) : value;
}

// From the nearer end, as torch.linspace does it; a single point lies at 0.
template <typename T>
inline T grid_coordinate(int index, int count, T step) {
  return index < count / 2 || count == 1 ? step * T(index) : T(1) - step * T(count - 1 - index);
}

template <typename T>
inline bool encloses_nothing(T side) {
  return (side < T(0) ? -side : side) < T(kBoxSoftMaskMinSide);
}

// ramp[i] = r(t_i) along one axis of a box from `low` to `high`.
template <typename T>
void ramp_along(T low, T high, int count, T* __restrict__ ramp) {
  const T side = high - low;
  if (encloses_nothing(side)) {
    for (int i = 0; i < count; ++i) ramp[i] = T(0);
    return;
  }
  const T step = count > 1 ? T(1) / T(count - 1) : T(0);
  for (int i = 0; i < count; ++i) {
    const T t = (grid_coordinate(i, count, step) - low) / side;
    const T rising = T(8) * t + T(0.5), falling = T(8.5) - T(8) * t;
    ramp[i] = clamp_to_unit(rising < falling ? rising : falling);
  }
}

// The same, with the derivatives of ramp[i] by `low` and by `high`.
template <typename T>
void ramp_and_slopes_along(T low, T high, int count, T* __restrict__ ramp, T* __restrict__ by_low,
                           T* __restrict__ by_high) {
  const T side = high - low;
  if (encloses_nothing(side)) {
    for (int i = 0; i < count; ++i) ramp[i] = by_low[i] = by_high[i] = T(0);
    return;
  }
  const T step = count > 1 ? T(1) / T(count - 1) : T(0);
  for (int i = 0; i < count; ++i) {
    const T t = (grid_coordinate(i, count, step) - low) / side;
    const T rising = T(8) * t + T(0.5), falling = T(8.5) - T(8) * t;
    const T value = rising < falling ? rising : falling;
    const T slope = (rising < falling ? T(8) : T(-8)) / side;
    const bool flat = value < T(0) || value > T(1);
    ramp[i] = clamp_to_unit(value);
    by_low[i] = flat ? T(0) : slope * (t - T(1));
    by_high[i] = flat ? T(0) : -slope * t;
  }
}

// First and last + 1 of the entries where the ramp or its slope is not zero (NaN is not zero).
template <typename T>
void support(const T* ramp, const T* by_low, const T* by_high, int count, int* begin, int* end) {
  const auto zero = [&](int i) { return ramp[i] == T(0) && by_low[i] == T(0) && by_high[i] == T(0); };
  int first = 0, last = count;
  while (first < last && zero(first)) ++first;
  while (last > first && zero(last - 1)) --last;
  *begin = first;
  *end = last;
}

// column[j] += grad[j] * weight for all j; returns sum of grad[j] * ramp[j].
template <typename T>
T accumulate_row(const T* __restrict__ grad, const T* __restrict__ ramp, T weight, int count, T* __restrict__ column) {
  T sums[kLanes] = {};
  int j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      sums[lane] += grad[j + lane] * ramp[j + lane];
      column[j + lane] += grad[j + lane] * weight;
    }
  }
  for (int lane = 0; j < count; ++j, ++lane) {
    sums[lane] += grad[j] * ramp[j];
    column[j] += grad[j] * weight;
  }
  T total = T(0);
  for (int lane = 0; lane < kLanes; ++lane) total += sums[lane];
  return total;
}

template <typename T>
void forward(const T* boxes, T* masks, int64_t begin, int64_t end, int64_t height, int64_t width, T* scratch) {
  T* const across = scratch;
  T* const down = scratch + width;
  for (int64_t v = begin; v < end; ++v) {
    const T* const box = boxes + 4 * v;
    ramp_along(box[0], box[2], static_cast<int>(width), across);
    ramp_along(box[1], box[3], static_cast<int>(height), down);
    T* __restrict__ out = masks + v * height * width;
    for (int64_t i = 0; i < height; ++i, out += width) {
      const T factor = down[i];
      for (int64_t j = 0; j < width; ++j) out[j] = factor * across[j];
    }
  }
}

// Outside its support a mask is zero whatever the box does, so grad_masks is read inside only.
template <typename T>
void backward(const T* grad_masks, const T* boxes, T* grad_boxes, int64_t begin, int64_t end, int64_t height,
              int64_t width, T* scratch) {
  T* const across = scratch;
  T* const across_by_x0 = across + width;
  T* const across_by_x1 = across_by_x0 + width;
  T* const column = across_by_x1 + width;
  T* const down = column + width;
  T* const down_by_y0 = down + height;
  T* const down_by_y1 = down_by_y0 + height;
  for (int64_t v = begin; v < end; ++v) {
    const T* const box = boxes + 4 * v;
    ramp_and_slopes_along(box[0], box[2], static_cast<int>(width), across, across_by_x0, across_by_x1);
    ramp_and_slopes_along(box[1], box[3], static_cast<int>(height), down, down_by_y0, down_by_y1);
    int left, right, top, bottom;
    support(across, across_by_x0, across_by_x1, static_cast<int>(width), &left, &right);
    support(down, down_by_y0, down_by_y1, static_cast<int>(height), &top, &bottom);
    for (int j = left; j < right; ++j) column[j] = T(0);
    T by_x0 = T(0), by_y0 = T(0), by_x1 = T(0), by_y1 = T(0);
    for (int i = top; i < bottom; ++i) {
      const T* const grad = grad_masks + (v * height + i) * width;
      const T row = accumulate_row(grad + left, across + left, down[i], right - left, column + left);
      by_y0 += row * down_by_y0[i];
      by_y1 += row * down_by_y1[i];
    }
    for (int j = left; j < right; ++j) {
      by_x0 += column[j] * across_by_x0[j];
      by_x1 += column[j] * across_by_x1[j];
    }
    T* const out = grad_boxes + 4 * v;
    out[0] = by_x0, out[1] = by_y0, out[2] = by_x1, out[3] = by_y1;
  }
}

}  // namespace

#define HMEG_DEFINE_BOX_SOFT_MASK(T)                                                                               \
  void box_soft_mask_forward(const T* boxes, T* masks, int64_t begin, int64_t end, int64_t height, int64_t width,  \
                             T* scratch) {                                                                         \
    forward<T>(boxes, masks, begin, end, height, width, scratch);                                                  \
  }                                                                                                                \
  void box_soft_mask_backward(const T* grad_masks, const T* boxes, T* grad_boxes, int64_t begin, int64_t end,      \
                              int64_t height, int64_t width, T* scratch) {                                         \
    backward<T>(grad_masks, boxes, grad_boxes, begin, end, height, width, scratch);                                \
  }

HMEG_DEFINE_BOX_SOFT_MASK(float)
HMEG_DEFINE_BOX_SOFT_MASK(double)

}  // namespace hmeg::simd::HMEG_SIMD
