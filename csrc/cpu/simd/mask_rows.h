// Rows of soft masks, for refine_masks and refine_layout.
//
// For each row of the image every channel adds one small vector where its line crosses zero; a running sum along the
// row then holds slope and intercept of the sum of all active channels, for the three output rows that read this row.
// The outer columns, which are of other classes than the interior, are done channel by channel.
#pragma once

#include "cpu/simd/mask_lines.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

template <typename T>
struct Exponential;

// e^y by y = n ln 2 + f: 2^n by its exponent bits, e^f by its series (error of the last term: under half a unit in the
// last place). kMagic's low bits are 0, so that adding it leaves n in the low bits of the sum.
template <>
struct Exponential<float> {
  typedef int32_t Bits __attribute__((vector_size(32)));
  static constexpr float kMagic = 12582912.0f, kLog2e = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f,
                         kLowest = -87.0f, kHighest = 88.0f;
  static constexpr int kTerms = 7, kBias = 127, kMantissa = 23;
};
template <>
struct Exponential<double> {
  typedef int64_t Bits __attribute__((vector_size(64)));
  static constexpr double kMagic = 6755399441055744.0, kLog2e = 1.4426950408889634, kLn2High = 0.693145751953125,
                          kLn2Low = 1.42860682030941723212e-6, kLowest = -708.0, kHighest = 709.0;
  static constexpr int kTerms = 13, kBias = 1023, kMantissa = 52;
};

// 1 / (1 + e^-x); NaN for NaN.
template <typename T>
inline typename Octet<T>::type sigmoid(typename Octet<T>::type x) {
  using V = typename Octet<T>::type;
  using E = Exponential<T>;
  V y = -x;
  y = y < E::kLowest ? V{} + E::kLowest : y;
  y = y > E::kHighest ? V{} + E::kHighest : y;
  const V shifted = y * E::kLog2e + E::kMagic;
  const V n = shifted - E::kMagic;
  const V f = (y - n * E::kLn2High) - n * E::kLn2Low;
  V series = V{} + T(1);
  for (int term = E::kTerms; term > 0; --term) series = series * (f * (T(1) / T(term))) + T(1);
  const typename E::Bits exponent = ((typename E::Bits)shifted + E::kBias) << E::kMantissa;
  return T(1) / (T(1) + series * (V)exponent);
}

template <typename T>
void sigmoid_all(T* values, int64_t count) {
  using V = typename Octet<T>::type;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) store_as(values + i, sigmoid<T>(load_as<V>(values + i)));
  if (i < count) {
    T rest[8] = {};
    for (int64_t j = i; j < count; ++j) rest[j - i] = values[j];
    store_as(rest, sigmoid<T>(load_as<V>(rest)));
    for (int64_t j = i; j < count; ++j) values[j] = rest[j - i];
  }
}

// Memory of one thread.
template <typename T>
struct MaskRowScratch {
  T* offsets;          // (kMaskClasses, padded)
  T* intercepts;       // (padded,)
  int32_t* crossings;  // (padded,)
  T* changes;          // (W + 2, 8): at each column, what slopes and intercepts change by; zero between rows
  T* sums;             // (W, 4): one row's part of the three output rows
  T* elsewhere;        // (W,): takes the parts of output rows that nobody asked for
};

template <typename T>
MaskRowScratch<T> mask_row_scratch(const MaskTables<T>& tables, T* memory) {
  MaskRowScratch<T> s;
  s.offsets = memory;
  s.intercepts = s.offsets + kMaskClasses * tables.padded;
  s.crossings = reinterpret_cast<int32_t*>(s.intercepts + tables.padded);
  s.changes = s.intercepts + 2 * tables.padded;
  s.sums = s.changes + 8 * (tables.width + 2);
  s.elsewhere = s.sums + 4 * tables.width;
  for (int64_t i = 0; i < 8 * (tables.width + 2); ++i) s.changes[i] = T(0);
  return s;
}

// The interior columns of one row: adds to the three output rows that read it.
template <typename T>
void interior_columns(const MaskTables<T>& tables, const MaskRowScratch<T>& s, int row_class, T y, T* below, T* same,
                      T* above) {
  using V = typename Octet<T>::type;
  typedef int32_t Columns __attribute__((vector_size(32)));
  const int pixel_class = row_class * kMaskSides;
  const int64_t width = tables.width;
  const T* const offsets = s.offsets + pixel_class * tables.padded;
  const T* const slope_y = affine_of(tables, pixel_class, kSlopeY);
  const T* const inverse = crossing_of(tables, row_class, kInverse);
  const T* const shift = crossing_of(tables, row_class, kShift);
  for (int64_t k = 0; k < tables.padded; k += kMaskLanes) {
    const V intercept = load_as<V>(offsets + k) + load_as<V>(slope_y + k) * y;
    store_as(s.intercepts + k, intercept);
    const V column = crossing_column<T>(intercept, load_as<V>(inverse + k), load_as<V>(shift + k), width);
    store_as(s.crossings + k, __builtin_convertvector(column, Columns));
  }
  // Channels that are nowhere active add nothing at all: BatchNorm may weigh one that never is by 1 / sqrt(eps), and
  // what it added and took away again would leave its rounding behind.
  V from_start[3] = {}, to_end[3] = {};
  const T* update = tables.updates + row_class * tables.padded * 2 * kMaskUpdate;
  const T* const sign = crossing_of(tables, row_class, kSign);
  for (int64_t k = 0; k < tables.channels; ++k, update += 2 * kMaskUpdate) {
    const int64_t crossing = s.crossings[k];
    const bool before = sign[k] > T(0);
    if (crossing == (before ? 0 : width - 2)) continue;
    T* const at = s.changes + 8 * crossing;
    V* const whole = before ? from_start : to_end;
    const T intercept = s.intercepts[k];
    for (int n = 0; n < 3; ++n) {
      const V change = load_as<V>(update + 8 * n) + load_as<V>(update + kMaskUpdate + 8 * n) * intercept;
      whole[n] += change;
      store_as(at + 8 * n, load_as<V>(at + 8 * n) + change);
    }
  }
  for (int n = 0; n < 3; ++n) store_as(s.changes + 8 * n, load_as<V>(s.changes + 8 * n) - from_start[n]);
  // The last interior column is read through dj = +1 from column W - 3 at most, through dj = 0 from W - 2.
  for (int n = 0; n < 2; ++n) {
    T* const at = s.changes + 8 * (width - 2 + n);
    store_as(at, load_as<V>(at) - to_end[n]);
  }
  using Q = typename Quad<T>::type;
  Q slopes = {}, intercepts = {};
  const Q none = {};
  for (int64_t j = 0; j < width; ++j) {
    T* const at = s.changes + 8 * j;
    slopes += load_as<Q>(at);
    intercepts += load_as<Q>(at + 4);
    store_as(at, none);
    store_as(at + 4, none);
    store_as(s.sums + 4 * j, slopes * T(j) + intercepts);
  }
  store_as(s.changes + 8 * width, V{});
  const T* __restrict__ const sums = s.sums;
  for (int64_t j = 0; j < width; ++j) below[j] += sums[4 * j];
  for (int64_t j = 0; j < width; ++j) same[j] += sums[4 * j + 1];
  for (int64_t j = 0; j < width; ++j) above[j] += sums[4 * j + 2];
}

// A pixel of an outer column: adds to the output pixels that read it.
template <typename T>
void outer_pixel(const MaskTables<T>& tables, const MaskRowScratch<T>& s, int row_class, int64_t j, T y, T* below,
                 T* same, T* above) {
  using V = typename Octet<T>::type;
  const int pixel_class = row_class * kMaskSides + mask_side_class(j, tables.width);
  const T x = grid_point<T>(j, tables.width);
  for (int64_t k = 0; k < tables.padded; k += kMaskLanes) {
    const V z = load_as<V>(s.offsets + pixel_class * tables.padded + k) +
                load_as<V>(affine_of(tables, pixel_class, kSlopeX) + k) * x +
                load_as<V>(affine_of(tables, pixel_class, kSlopeY) + k) * y;
    store_as(s.intercepts + k, positive_part(z));
  }
  V parts[3] = {};
  const T* spread = tables.spread;
  for (int64_t k = 0; k < tables.channels; ++k, spread += kMaskUpdate) {
    for (int n = 0; n < 3; ++n) parts[n] += load_as<V>(spread + 8 * n) * s.intercepts[k];
  }
  for (int n = 0; n < 3; ++n) {
    const int64_t to = j + n - 1;  // dj = 1 - n
    if (to < 0 || to >= tables.width) continue;
    below[to] += parts[n][4];
    same[to] += parts[n][5];
    above[to] += parts[n][6];
  }
}

inline bool is_number(double value) { return value - value == 0; }

// out (last - first, W): rows [first, last) of the mask of a box. A box with a NaN or an infinity gives NaN.
template <typename T>
void mask_rows(const MaskTables<T>& tables, const MaskRowScratch<T>& s, const T* box, int64_t first, int64_t last,
               T* out) {
  const int64_t height = tables.height, width = tables.width;
  if (!(is_number(box[0]) && is_number(box[1]) && is_number(box[2]) && is_number(box[3]))) {
    for (int64_t i = 0; i < (last - first) * width; ++i) out[i] = T(__builtin_nan(""));
    return;
  }
  for (int64_t i = first; i < last; ++i) {
    const T* const levels = tables.levels + mask_side_class(i, height) * kMaskSides;
    T* const row = out + (i - first) * width;
    for (int64_t j = 0; j < width; ++j) row[j] = levels[0];
    row[0] = levels[mask_side_class(0, width)];
    row[width - 1] = levels[mask_side_class(width - 1, width)];
  }
  symbol_offsets(tables, box, s.offsets);
  const auto wanted = [&](int64_t i) { return i >= first && i < last ? out + (i - first) * width : s.elsewhere; };
  for (int64_t i = 0; i < width; ++i) s.elsewhere[i] = T(0);
  const int64_t end = last < height ? last + 1 : height;
  for (int64_t i = first > 0 ? first - 1 : 0; i < end; ++i) {
    const int row_class = mask_side_class(i, height);
    const T y = grid_point<T>(i, height);
    T *const below = wanted(i + 1), *const same = wanted(i), *const above = wanted(i - 1);
    if (width > 2) interior_columns(tables, s, row_class, y, below, same, above);
    outer_pixel(tables, s, row_class, 0, y, below, same, above);
    if (width > 1) outer_pixel(tables, s, row_class, width - 1, y, below, same, above);
  }
  sigmoid_all(out, (last - first) * width);
}

}  // namespace
}  // namespace hmeg::simd::HMEG_SIMD
