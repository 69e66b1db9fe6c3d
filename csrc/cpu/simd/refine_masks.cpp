// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
#include "cpu/simd/refine_masks_simd.h"

#include "cpu/simd/mask_rows.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

using D = Octet<double>::type;

template <typename T>
inline D widened(const T* from) {
  return __builtin_convertvector(load_as<typename Octet<T>::type>(from), D);
}

// Sums over the interior columns of rows [begin, end), all of one class, in closed form: n active columns about the
// column `middle`, where z has its mean; the squares about that mean add up to step^2 n (n^2 - 1) / 12.
template <typename T>
void interior_statistics(const MaskTables<T>& tables, const double* offsets, int row_class, MaskRun rows,
                         const double* about, double* sums) {
  typedef int32_t Columns __attribute__((vector_size(32)));
  const int pixel_class = row_class * kMaskSides;
  for (int64_t k = 0; k < tables.padded; k += kMaskLanes) {
    const D offset = load_as<D>(offsets + pixel_class * tables.padded + k);
    const D slope_y = widened(affine_of(tables, pixel_class, kSlopeY) + k);
    const D step = widened(crossing_of(tables, row_class, kStep) + k);
    const D inverse = widened(crossing_of(tables, row_class, kInverse) + k);
    const D shift = widened(crossing_of(tables, row_class, kShift) + k);
    const D sign = widened(crossing_of(tables, row_class, kSign) + k);
    // Before the crossing: columns 1 .. c; after it: c + 1 .. W - 2.
    const D count_at_zero = sign > 0 ? D{} : D{} + double(tables.width - 2);
    const D middle_at_zero = sign > 0 ? D{} + 0.5 : D{} + 0.5 * double(tables.width - 1);
    const D spread = step * step * (1.0 / 12);
    const D rest = load_as<D>(about + k);
    D sum = {}, squares = {};
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      const D intercept = offset + slope_y * grid_point<double>(i, tables.height);
      const D column = crossing_column<double>(intercept, inverse, shift, tables.width);
      const D crossing = __builtin_convertvector(__builtin_convertvector(column, Columns), D);
      const D count = count_at_zero + sign * crossing;
      const D mean = intercept + step * (middle_at_zero + 0.5 * crossing) - rest;
      const D active = count * mean, inactive = (count - double(tables.width - 2)) * rest;
      sum += active + inactive;
      squares += active * mean - inactive * rest + spread * count * (count * count - 1.0);
    }
    store_as(sums + k, load_as<D>(sums + k) + sum);
    store_as(sums + tables.padded + k, load_as<D>(sums + tables.padded + k) + squares);
  }
}

// The same for an outer column, pixel by pixel.
template <typename T>
void outer_statistics(const MaskTables<T>& tables, const double* offsets, int row_class, MaskRun rows, int64_t j,
                      const double* about, double* sums) {
  const int pixel_class = row_class * kMaskSides + mask_side_class(j, tables.width);
  const double x = grid_point<double>(j, tables.width);
  for (int64_t k = 0; k < tables.padded; k += kMaskLanes) {
    const D at_zero = load_as<D>(offsets + pixel_class * tables.padded + k) +
                      widened(affine_of(tables, pixel_class, kSlopeX) + k) * x;
    const D slope_y = widened(affine_of(tables, pixel_class, kSlopeY) + k);
    const D rest = load_as<D>(about + k);
    D sum = load_as<D>(sums + k), squares = load_as<D>(sums + tables.padded + k);
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      const D value = positive_part(at_zero + slope_y * grid_point<double>(i, tables.height)) - rest;
      sum += value;
      squares += value * value;
    }
    store_as(sums + k, sum);
    store_as(sums + tables.padded + k, squares);
  }
}

template <typename T>
void statistics(const MaskTables<T>& tables, const T* boxes, const double* about, double* sums, int64_t begin,
                int64_t end, double* offsets) {
  for (int64_t k = 0; k < 2 * tables.padded; ++k) sums[k] = 0;
  for (int64_t v = begin; v < end; ++v) {
    symbol_offsets(tables, boxes + 4 * v, offsets);
    for (int row_class = 0; row_class < kMaskSides; ++row_class) {
      const MaskRun rows = mask_run(row_class, tables.height);
      if (rows.begin == rows.end) continue;
      if (tables.width > 2) interior_statistics(tables, offsets, row_class, rows, about, sums);
      outer_statistics(tables, offsets, row_class, rows, 0, about, sums);
      if (tables.width > 1) outer_statistics(tables, offsets, row_class, rows, tables.width - 1, about, sums);
    }
  }
}

template <typename T>
void forward(const MaskTables<T>& tables, const T* boxes, T* masks, int64_t begin, int64_t end, T* scratch) {
  const MaskRowScratch<T> rows = mask_row_scratch(tables, scratch);
  for (int64_t v = begin; v < end; ++v) {
    mask_rows(tables, rows, boxes + 4 * v, 0, tables.height, masks + v * tables.height * tables.width);
  }
}

}  // namespace

#define HMEG_DEFINE_REFINE_MASKS(T)                                                                            \
  void refine_masks_forward(const MaskTables<T>& tables, const T* boxes, T* masks, int64_t begin, int64_t end, \
                            T* scratch) {                                                                      \
    forward<T>(tables, boxes, masks, begin, end, scratch);                                                     \
  }                                                                                                            \
  void refine_masks_statistics(const MaskTables<T>& tables, const T* boxes, const double* about, double* sums, \
                               int64_t begin, int64_t end, double* scratch) {                                  \
    statistics<T>(tables, boxes, about, sums, begin, end, scratch);                                            \
  }

HMEG_DEFINE_REFINE_MASKS(float)
HMEG_DEFINE_REFINE_MASKS(double)

}  // namespace hmeg::simd::HMEG_SIMD
