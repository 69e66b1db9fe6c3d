// The fixed soft indicator of a box is the product of two ramps, r(t) across and down: see csrc/box_soft_mask.h.
#pragma once

#include "box_soft_mask.h"
#include "device.h"
#include "grid_points.h"

namespace hmeg {

// One side of a box over `count` grid points.
template <typename A>
struct Side {
  A low, step, reciprocal;  // reciprocal of the side's length, 0 where it encloses nothing
  int64_t count;

  Side() = default;
  HMEG_DEVICE Side(A low, A high, int64_t count) : low(low), count(count) {
    const A length = high - low;
    const bool nothing = (length < A(0) ? -length : length) < A(kBoxSoftMaskMinSide);
    reciprocal = nothing ? A(0) : A(1) / length;
    step = grid_step<A>(count);
  }
};

// r(t) at one grid point and its derivatives by the side's two ends. Comparisons are written so that NaN falls through.
template <typename A>
struct SoftRamp {
  A value, by_low, by_high;

  SoftRamp() = default;
  HMEG_DEVICE SoftRamp(const Side<A>& side, int64_t index) {
    const A t = (grid_point(index, side.count, side.step) - side.low) * side.reciprocal;
    const A rising = A(8) * t + A(0.5), falling = A(8.5) - A(8) * t;
    value = rising < falling ? rising : falling;
    const A slope = (rising < falling ? A(8) : A(-8)) * side.reciprocal;
    const bool flat = value < A(0) || value > A(1);
    by_low = flat ? A(0) : slope * (t - A(1));
    by_high = flat ? A(0) : -slope * t;
    value = value < A(0) ? A(0) : value;
    value = value > A(1) ? A(1) : value;
    if (side.reciprocal == A(0)) value = by_low = by_high = A(0);
  }

  HMEG_DEVICE bool zero() const { return value == A(0) && by_low == A(0) && by_high == A(0); }
};

// A box with a NaN is NaN everywhere: makes both sides NaN if one is, so that nothing is passed over as zero.
template <typename A>
HMEG_DEVICE void spread_nan(Side<A>& across, Side<A>& down) {
  const A poison = (across.low - across.low) + (across.reciprocal - across.reciprocal) + (down.low - down.low) +
                   (down.reciprocal - down.reciprocal);
  if (poison != A(0)) across.low = across.reciprocal = down.low = down.reciprocal = poison;
}

// Grid points among which are all where a side's ramp is not zero; all of them for NaN.
struct Support {
  int64_t begin, end;
};

template <typename A>
HMEG_DEVICE Support support_of(const Side<A>& side) {
  if (side.reciprocal == A(0)) return {0, 0};
  if (side.count == 1) return {0, 1};
  const A length = A(1) / side.reciprocal, margin = A(1.0 / 16.0) * length;
  const A one = side.low - margin, other = side.low + length + margin;
  // In grid steps, one more on each side for rounding.
  const A least = (one < other ? one : other) * A(side.count - 1) - A(1);
  const A most = (one < other ? other : one) * A(side.count - 1) + A(1);
  Support support{0, side.count};
  if (least >= A(1)) support.begin = least < A(side.count) ? static_cast<int64_t>(least) : side.count;
  if (most < A(side.count - 1)) support.end = most < A(0) ? 0 : static_cast<int64_t>(most) + 1;
  return support;
}

}  // namespace hmeg
