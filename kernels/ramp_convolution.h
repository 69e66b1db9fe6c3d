// refine_masks' first convolution. It acts on coordinate ramps, which are planes, so its output is one plane a channel,
// z = a X + c Y + d, whatever K is; only where taps fall outside the image (zero padding) is it another plane. A
// pixel's class, 3 * (row class) + (column class), says which: 0 the first row or column, 2 the last, 1 those between.
//
// The table of planes holds kPlaneNumbers numbers for every class and channel, channels last: a, c, d without the box,
// and the four sums of weights that the box's ends have in d.
#pragma once

#include "device.h"
#include "grid_points.h"

namespace hmeg {

constexpr int kClasses = 9, kTaps = 9, kPlaneNumbers = 7;

// Whether a pixel of this class has a neighbour (down, across), both from -1 to 1, in an image of that size.
HMEG_DEVICE bool has_neighbour(int cls, int down, int across, int64_t height, int64_t width) {
  const int row = cls / 3, column = cls % 3;
  const bool above = row != 0, below = row != 2 && height > 1, left = column != 0, right = column != 2 && width > 1;
  return (down >= 0 || above) && (down <= 0 || below) && (across >= 0 || left) && (across <= 0 || right);
}

HMEG_DEVICE int class_along(int64_t index, int64_t count) { return index == 0 ? 0 : index == count - 1 ? 2 : 1; }

template <typename A>
struct Plane {
  A a, c, d;
};

// The plane of a class and channel for a box.
template <typename A>
HMEG_DEVICE Plane<A> plane_of(const A* table, int cls, int64_t channel, int64_t channels, const A (&box)[4]) {
  const A* const numbers = table + int64_t(cls) * kPlaneNumbers * channels + channel;
  A d = numbers[2 * channels];
  HMEG_UNROLL
  for (int side = 0; side < 4; ++side) d -= A(2) * box[side] * numbers[(3 + side) * channels];
  return {numbers[0], numbers[channels], d};
}

// Row of the table for `channel` and `cls`, from conv1's weights (K, 4, 3, 3) and biases.
template <typename T>
HMEG_DEVICE void tabulate_plane(const T* weight, const T* bias, Accumulator<T>* table, int cls, int64_t channel,
                                int64_t channels, int64_t height, int64_t width) {
  using A = Accumulator<T>;
  const A across_step = grid_step<A>(width), down_step = grid_step<A>(height);
  A a = 0, c = 0, d = widen(bias[channel]), sums[4] = {A(0), A(0), A(0), A(0)};
  for (int tap = 0; tap < kTaps; ++tap) {
    const int down = tap / 3 - 1, across = tap % 3 - 1;
    if (!has_neighbour(cls, down, across, height, width)) continue;
    A taps[4];
    HMEG_UNROLL
    for (int side = 0; side < 4; ++side) sums[side] += taps[side] = widen(weight[(channel * 4 + side) * kTaps + tap]);
    a += A(2) * (taps[0] + taps[2]);
    c += A(2) * (taps[1] + taps[3]);
    d += (taps[0] + taps[2]) * (A(2 * across) * across_step - A(1)) +
         (taps[1] + taps[3]) * (A(2 * down) * down_step - A(1));
  }
  A* const numbers = table + int64_t(cls) * kPlaneNumbers * channels + channel;
  const A all[kPlaneNumbers] = {a, c, d, sums[0], sums[1], sums[2], sums[3]};
  HMEG_UNROLL
  for (int n = 0; n < kPlaneNumbers; ++n) numbers[n * channels] = all[n];
}

// Where first + step * index > 0 for index in [0, count): one interval, as the values lie on a line. An end that
// rounding puts one off stands at a value of about zero. NaN anywhere: everywhere.
struct Interval {
  int begin, end;
};

template <typename A>
HMEG_DEVICE Interval positive_interval(A first, A step, A reciprocal_step, int count) {
  if (first != first || step != step) return {0, count};
  if (step == A(0)) return {0, first > A(0) ? count : 0};
  const A crossing = -first * reciprocal_step;
  int place = 0;  // how many indices lie at or before the crossing
  if (crossing >= A(0)) place = crossing < A(count) ? static_cast<int>(crossing) + 1 : count;
  return step > A(0) ? Interval{place, count} : Interval{0, place};
}

}  // namespace hmeg
