// What refine_masks' loops read instead of the weights; csrc/cpu/mask_tables.cpp fills it once per call.
//
// conv1 acts on coordinate ramps that are zero outside the image. So a pixel's hidden value before the ReLU is, for
// channel k,
//
//   z = base_k + slope_x_k X + slope_y_k Y - sum over c of weight_kc box_c,
//
// where the coefficients depend on the pixel's class only: which of its neighbours lie outside. Along a row, z is a
// straight line over the interior columns 1 .. W - 2: relu(z) is z on one side of a crossing and 0 on the other.
#pragma once

#include <stdint.h>

namespace hmeg {

// A side's class: bit 0, nothing before (first row or column); bit 1, nothing after. A pixel's class is row's * 4 +
// column's.
constexpr int kMaskSides = 4;
constexpr int kMaskClasses = kMaskSides * kMaskSides;

constexpr int64_t kMaskLanes = 8;  // channels are padded to a multiple of this with channels that add nothing

// Of every class and channel: z's coefficients.
enum MaskAffine { kBase, kSlopeX, kSlopeY, kBoxWeight, kMaskAffines = kBoxWeight + 4 };

// Of every row class and channel, for interior columns with z = step j + intercept: z crosses 0 at column
// j = kInverse * intercept + kShift; kSign +1 where z is positive before that, -1 where it is after.
enum MaskCrossing { kStep, kInverse, kShift, kSign, kMaskCrossings };

// Numbers that one channel adds at its crossing: for the taps dj = +1, 0, -1 in this order (three neighbouring columns
// of the output) four slopes and four intercepts each, for di = -1, 0, +1 and a spare.
constexpr int64_t kMaskUpdate = 24;

template <typename T>
struct MaskTables {
  int64_t channels, padded, height, width;
  T* affine;    // (kMaskClasses, kMaskAffines, padded)
  T* crossing;  // (kMaskSides, kMaskCrossings, padded)
  T* updates;   // (kMaskSides, padded, 2, kMaskUpdate): added at a crossing: first + intercept * second; where z
                // is positive before it, that is taken away there, having been added at the first interior column
  T* spread;    // (padded, kMaskUpdate): the taps' weights, di in the intercepts' places and 0 elsewhere
  T* weights;   // (9, padded): conv2's weights by tap (di + 1) * 3 + dj + 1
  T levels[kMaskClasses];  // what an output pixel has without any relu(z), by its class
};

static inline int mask_side_class(int64_t index, int64_t count) {
  return (index == 0 ? 1 : 0) + (index == count - 1 ? 2 : 0);
}

// The rows (or columns) of a class: [begin, end), empty where the image has none.
struct MaskRun {
  int64_t begin, end;
};
static inline MaskRun mask_run(int side_class, int64_t count) {
  switch (side_class) {
    case 0:
      return {1, count > 2 ? count - 1 : 1};
    case 1:
      return {0, count > 1 ? 1 : 0};
    case 2:
      return {count - 1, count > 1 ? count : count - 1};
    default:
      return {0, count == 1 ? 1 : 0};
  }
}

// Whether the neighbour at `step` (-1, 0, 1) of a row or column of the class lies in the image.
static inline bool mask_neighbour(int side_class, int step) {
  return step == 0 || (step < 0 ? !(side_class & 1) : !(side_class & 2));
}

}  // namespace hmeg
