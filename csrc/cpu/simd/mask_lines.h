// What the forward and the backward pass of refine_masks share: a symbol's hidden values as straight lines.
#pragma once

#include "cpu/simd/grid_points.h"
#include "cpu/simd/mask_tables.h"
#include "cpu/simd/wide.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

template <typename T>
inline const T* affine_of(const MaskTables<T>& tables, int pixel_class, int which) {
  return tables.affine + (int64_t(pixel_class) * kMaskAffines + which) * tables.padded;
}

template <typename T>
inline const T* crossing_of(const MaskTables<T>& tables, int row_class, int which) {
  return tables.crossing + (int64_t(row_class) * kMaskCrossings + which) * tables.padded;
}

// offsets (kMaskClasses, padded): z without its X and Y parts, for the classes that the image has.
template <typename T, typename S = T>
void symbol_offsets(const MaskTables<T>& tables, const T* box, S* offsets) {
  using V = typename Octet<T>::type;
  using W = typename Octet<S>::type;
  for (int c = 0; c < kMaskClasses; ++c) {
    const MaskRun rows = mask_run(c / kMaskSides, tables.height), columns = mask_run(c % kMaskSides, tables.width);
    if (rows.begin == rows.end || columns.begin == columns.end) continue;
    for (int64_t k = 0; k < tables.padded; k += kMaskLanes) {
      W z = __builtin_convertvector(load_as<V>(affine_of(tables, c, kBase) + k), W);
      for (int i = 0; i < 4; ++i) {
        z -= __builtin_convertvector(load_as<V>(affine_of(tables, c, kBoxWeight + i) + k), W) * S(box[i]);
      }
      store_as(offsets + c * tables.padded + k, z);
    }
  }
}

// Comparisons are written so that NaN falls through.
template <typename V>
inline V positive_part(V z) {
  return z < 0 ? V{} : z;
}

// The last column before z = step j + intercept crosses 0, at least 0 and at most W - 2: in the interior, columns
// 1 .. crossing lie before, the others after it. A NaN gives some column in that range.
template <typename T>
inline typename Octet<T>::type crossing_column(typename Octet<T>::type intercept, typename Octet<T>::type inverse,
                                               typename Octet<T>::type shift, int64_t width) {
  using V = typename Octet<T>::type;
  const V last = V{} + T(width - 2);
  V column = intercept * inverse + shift;
  column = column > 0 ? column : V{};
  return column < last ? column : last;
}

}  // namespace
}  // namespace hmeg::simd::HMEG_SIMD
