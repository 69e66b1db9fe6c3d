// Small matrix products with a few vectors of sums in registers; sums are added in a fixed order.
#pragma once

#include "cpu/simd/wide.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

constexpr int kMostRows = 6;  // rows of a product at a time: 12 registers of sums, of the 16 that AVX2 has

// out[r, p] = sum over k in [0, count) of left[k * left_step + r * left_row] * right[k * right_row + p], for kRows rows
// (out_row apart) and for p in [0, width); with kAdd that is added to what out holds.
template <typename T, int kRows, bool kAdd>
void product(const T* left, int64_t left_step, int64_t left_row, const T* right, int64_t right_row, int64_t count,
             T* out, int64_t out_row, int64_t width) {
  using V = Pack<T>;
  constexpr int64_t kLanes = kRegisterLanes<T>;
  int64_t p = 0;
  for (; p + 2 * kLanes <= width; p += 2 * kLanes) {
    V low[kRows] = {}, high[kRows] = {};
    if (kAdd) {
      for (int r = 0; r < kRows; ++r) {
        low[r] = load_as<V>(out + r * out_row + p);
        high[r] = load_as<V>(out + r * out_row + p + kLanes);
      }
    }
    for (int64_t k = 0; k < count; ++k) {
      const V a = load_as<V>(right + k * right_row + p), b = load_as<V>(right + k * right_row + p + kLanes);
      for (int r = 0; r < kRows; ++r) {
        const T factor = left[k * left_step + r * left_row];
        low[r] += factor * a;
        high[r] += factor * b;
      }
    }
    for (int r = 0; r < kRows; ++r) {
      store_as(out + r * out_row + p, low[r]);
      store_as(out + r * out_row + p + kLanes, high[r]);
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

// The same for any number of rows: as few groups as do, each of about as many rows, since every group reads all of
// `right` again.
template <typename T, bool kAdd = false>
void products(const T* left, int64_t left_step, int64_t left_row, const T* right, int64_t right_row, int64_t count,
              T* out, int64_t out_row, int64_t width, int64_t rows) {
  const int64_t groups = (rows + kMostRows - 1) / kMostRows;
  for (int64_t g = 0, r = 0; g < groups; ++g) {
    const int64_t size = rows / groups + (g < rows % groups ? 1 : 0);
    const T* const factors = left + r * left_row;
    T* const to = out + r * out_row;
    switch (size) {
      case 6:
        product<T, 6, kAdd>(factors, left_step, left_row, right, right_row, count, to, out_row, width);
        break;
      case 5:
        product<T, 5, kAdd>(factors, left_step, left_row, right, right_row, count, to, out_row, width);
        break;
      case 4:
        product<T, 4, kAdd>(factors, left_step, left_row, right, right_row, count, to, out_row, width);
        break;
      case 3:
        product<T, 3, kAdd>(factors, left_step, left_row, right, right_row, count, to, out_row, width);
        break;
      case 2:
        product<T, 2, kAdd>(factors, left_step, left_row, right, right_row, count, to, out_row, width);
        break;
      default:
        product<T, 1, kAdd>(factors, left_step, left_row, right, right_row, count, to, out_row, width);
        break;
    }
    r += size;
  }
}

}  // namespace
}  // namespace hmeg::simd::HMEG_SIMD
