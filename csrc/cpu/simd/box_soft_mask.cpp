// Compiled once per instruction set (HMEG_SIMD names it). Only plain loops over raw pointers here: an inline function
// of the standard library, instantiated with AVX-512 in this file, could be the copy that the linker keeps for all.
#include "cpu/simd/box_soft_mask_simd.h"

#include "box_soft_mask.h"
#include "cpu/simd/soft_ramp.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

constexpr int kLanes = 16;  // independent sums per reduction: enough for the compiler to fill vector registers

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
    soft_ramp(box[0], box[2], static_cast<int>(width), across);
    soft_ramp(box[1], box[3], static_cast<int>(height), down);
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
    soft_ramp_and_slopes(box[0], box[2], static_cast<int>(width), across, across_by_x0, across_by_x1);
    soft_ramp_and_slopes(box[1], box[3], static_cast<int>(height), down, down_by_y0, down_by_y1);
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

#define HMEG_DEFINE_BOX_SOFT_MASK(T)                                                                              \
  void box_soft_mask_forward(const T* boxes, T* masks, int64_t begin, int64_t end, int64_t height, int64_t width, \
                             T* scratch) {                                                                        \
    forward<T>(boxes, masks, begin, end, height, width, scratch);                                                 \
  }                                                                                                               \
  void box_soft_mask_backward(const T* grad_masks, const T* boxes, T* grad_boxes, int64_t begin, int64_t end,     \
                              int64_t height, int64_t width, T* scratch) {                                        \
    backward<T>(grad_masks, boxes, grad_boxes, begin, end, height, width, scratch);                               \
  }

HMEG_DEFINE_BOX_SOFT_MASK(float)
HMEG_DEFINE_BOX_SOFT_MASK(double)

}  // namespace hmeg::simd::HMEG_SIMD
