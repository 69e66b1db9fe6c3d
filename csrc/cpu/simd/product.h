// Small matrix products with a few vectors of sums in registers; sums are added in a fixed order.
#pragma once

#include "cpu/simd/wide.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

// out[r, p] = sum over k in [0, count) of left[k * left_step + r * left_row] * right[k * right_row + p], for kRows rows
// (out_row apart) and for p in [0, width); with kAdd that is added to what out holds.
template <typename T, int kRows, bool kAdd>
void product(const T* left, int64_t left_step, int64_t left_row, const T* right, int64_t right_row, int64_t count,
             T* out, int64_t out_row, int64_t width) {
  using V = typename Wide<T>::type;
  constexpr int64_t kLanes = Wide<T>::kLanes;
  int64_t p = 0;
  for (; p + 2 * kLanes <= width; p += 2 * kLanes) {
    V low[kRows] = {}, high[kRows] = {};
    if (kAdd) {
      for (int r = 0; r < kRows; ++r) {
        low[r] = load(out + r * out_row + p);
        high[r] = load(out + r * out_row + p + kLanes);
      }
    }
    for (int64_t k = 0; k < count; ++k) {
      const V a = load(right + k * right_row + p), b = load(right + k * right_row + p + kLanes);
      for (int r = 0; r < kRows; ++r) {
        const T factor = left[k * left_step + r * left_row];
        low[r] += factor * a;
        high[r] += factor * b;
      }
    }
    for (int r = 0; r < kRows; ++r) {
      store(out + r * out_row + p, low[r]);
      store(out + r * out_row + p + kLanes, high[r]);
    }
  }
  for (; p < width; ++p) {
    for (int r = 0; r < kRows; ++r) {
      T total = kAdd ? out[r * out_row + p] : T(0);
      for (int64_t k = 0; k < count; ++k) total += left[k * left_step + r * left_row] * right[k * right_row + p];
      out[r * out_row + p] = total;
    }
  }
}

// The same for any number of rows.
template <typename T, bool kAdd = false>
void products(const T* left, int64_t left_step, int64_t left_row, const T* right, int64_t right_row, int64_t count,
              T* out, int64_t out_row, int64_t width, int64_t rows) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    product<T, 4, kAdd>(left + r * left_row, left_step, left_row, right, right_row, count, out + r * out_row, out_row,
                        width);
  }
  for (; r < rows; ++r) {
    product<T, 1, kAdd>(left + r * left_row, left_step, left_row, right, right_row, count, out + r * out_row, out_row,
                        width);
  }
}

}  // namespace
}  // namespace hmeg::simd::HMEG_SIMD
