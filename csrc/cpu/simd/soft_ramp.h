// The soft indicator of an interval along one axis, r(t), on grid points, shared by box_soft_mask and box_layout. For
// files that are compiled once per instruction set; see box_soft_mask.cpp for what may stand here.
#pragma once

#include "box_soft_mask.h"
#include "cpu/simd/grid_points.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

// Comparisons are written so that NaN falls through to the result.
template <typename T>
inline T clamp_to_unit(T value) {
  value = value < T(0) ? T(0) : value;
  return value > T(1) ? T(1) : value;
}

template <typename T>
inline bool encloses_nothing(T side) {
  return (side < T(0) ? -side : side) < T(kBoxSoftMaskMinSide);
}

// ramp[i] = r(t_i) along one axis of a box from `low` to `high`.
template <typename T>
void soft_ramp(T low, T high, int count, T* __restrict__ ramp) {
  const T side = high - low;
  if (encloses_nothing(side)) {
    for (int i = 0; i < count; ++i) ramp[i] = T(0);
    return;
  }
  const T step = grid_step<T>(count);
  for (int i = 0; i < count; ++i) {
    const T t = (grid_point(i, count, step) - low) / side;
    const T rising = T(8) * t + T(0.5), falling = T(8.5) - T(8) * t;
    ramp[i] = clamp_to_unit(rising < falling ? rising : falling);
  }
}

// The same, with the derivatives of ramp[i] by `low` and by `high`.
template <typename T>
void soft_ramp_and_slopes(T low, T high, int count, T* __restrict__ ramp, T* __restrict__ by_low,
                          T* __restrict__ by_high) {
  const T side = high - low;
  if (encloses_nothing(side)) {
    for (int i = 0; i < count; ++i) ramp[i] = by_low[i] = by_high[i] = T(0);
    return;
  }
  const T step = grid_step<T>(count);
  for (int i = 0; i < count; ++i) {
    const T t = (grid_point(i, count, step) - low) / side;
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

}  // namespace
}  // namespace hmeg::simd::HMEG_SIMD
