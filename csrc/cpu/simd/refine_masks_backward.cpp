// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
//
// The backward pass of refine_masks up to its last sums over symbols, which csrc/cpu/refine_masks.cpp makes. Where a
// channel is active along a row is an interval, so sums over it are differences of running sums: of the gradient, and
// of the gradient times the column, for the three rows of the output that read this row. Three neighbouring columns of
// those hold what all nine taps need.
#include "cpu/simd/mask_lines.h"
#include "cpu/simd/refine_masks_simd.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

typedef int32_t Columns __attribute__((vector_size(32)));

// One thread's memory, and the group of symbols it works on.
template <typename T>
struct Backward {
  const MaskTables<T>& tables;
  const int64_t quantities;
  T* offsets;         // (kMaskClasses, padded)
  T* moments;         // (quantities, kMaskMoments, padded): of one class of pixels of one symbol
  T* gathered;        // (padded, 2, kMaskUpdate): running sums at the crossings, summed over rows; and the same times Y
  T* tap_weights;     // (padded, 12): conv2's weights as running sums lie, dj = +1, 0, -1 and four places for di
  T* tap_products;    // (padded, 12): sums of relu(z) times the gradient, over the group, interior columns
  T* outer_products;  // (9, padded): the same of the outer columns
  int32_t* crossings;  // (kMaskBlockRows, padded)
  T* totals;           // (kMaskClasses, quantities, kMaskMoments + 4, padded): moments, and the first times each box_c
  T* grad;             // (H + 2, W + 2): gradient before the sigmoid, zero around the image
  T* running;          // (kMaskBlockRows, W + 1, 8)
  T* ends;             // (2, 2, kMaskUpdate): as `gathered`, at the first interior column and after the last
  T tap_sums[9];       // sums of the gradient by tap, of one symbol

  Backward(const MaskTables<T>& given, int64_t count, T* memory) : tables(given), quantities(count) {
    const int64_t padded = tables.padded;
    const auto take = [&](int64_t scalars) {
      T* const piece = memory;
      memory += scalars;
      return piece;
    };
    offsets = take(kMaskClasses * padded);
    moments = take(quantities * kMaskMoments * padded);
    gathered = take(2 * kMaskUpdate * padded);
    tap_weights = take(12 * padded);
    tap_products = take(12 * padded);
    outer_products = take(9 * padded);
    crossings = reinterpret_cast<int32_t*>(take(kMaskBlockRows * padded));
    totals = take(kMaskClasses * quantities * (kMaskMoments + 4) * padded);
    grad = take((tables.height + 2) * (tables.width + 2));
    running = take(kMaskBlockRows * 8 * (tables.width + 1));
    ends = take(4 * kMaskUpdate);
  }

  int64_t stride() const { return tables.width + 2; }
  // The gradient of pixel (i, j); one step outside the image it is zero.
  const T* grad_at(int64_t i, int64_t j) const { return grad + (i + 1) * stride() + j + 1; }
  T* moments_of(int quantity) const { return moments + quantity * kMaskMoments * tables.padded; }
};

template <typename T>
inline void clear(T* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = T(0);
}

// grad = grad_mask * mask (1 - mask)
template <typename T>
void through_the_sigmoid(const Backward<T>& b, const T* grad_mask, const T* mask) {
  for (int64_t i = 0; i < b.tables.height; ++i) {
    T* __restrict__ const out = b.grad + (i + 1) * b.stride() + 1;
    const T* const g = grad_mask + i * b.tables.width;
    const T* const m = mask + i * b.tables.width;
    for (int64_t j = 0; j < b.tables.width; ++j) out[j] = g[j] * (m[j] * (T(1) - m[j]));
  }
}

// running (W + 1, 8): before each column, the sum of the gradient of output rows i + 1, i, i - 1 (di = -1, 0, +1), and
// of the gradient times the column.
template <typename T>
void running_sums(const Backward<T>& b, int64_t i, T* running) {
  using Q = typename Quad<T>::type;
  const T *const next = b.grad_at(i + 1, 0), *const same = b.grad_at(i, 0), *const before = b.grad_at(i - 1, 0);
  Q sum = {}, times_column = {};
  for (int64_t j = 0; j < b.tables.width; ++j) {
    store_as(running + 8 * j, sum);
    store_as(running + 8 * j + 4, times_column);
    const Q value = {next[j], same[j], before[j], T(0)};
    sum += value;
    times_column += value * T(j);
  }
  store_as(running + 8 * b.tables.width, sum);
  store_as(running + 8 * b.tables.width + 4, times_column);
}

// Crossings of the block's rows, and with more than one quantity the moments of 1 and relu(z): n active columns about
// the column `middle`, where z has its mean.
template <typename T>
void block_crossings(const Backward<T>& b, int row_class, MaskRun block) {
  using V = typename Octet<T>::type;
  const MaskTables<T>& tables = b.tables;
  const int pixel_class = row_class * kMaskSides;
  T *const counts = b.moments_of(kFromCount), *const values = b.moments_of(kFromValue);
  const T spacing = grid_step<T>(tables.width);
  for (int64_t k = 0; k < tables.padded; k += kMaskLanes) {
    const V offset = load_as<V>(b.offsets + pixel_class * tables.padded + k);
    const V slope_y = load_as<V>(affine_of(tables, pixel_class, kSlopeY) + k);
    const V inverse = load_as<V>(crossing_of(tables, row_class, kInverse) + k);
    const V shift = load_as<V>(crossing_of(tables, row_class, kShift) + k);
    const V step = load_as<V>(crossing_of(tables, row_class, kStep) + k);
    const V sign = load_as<V>(crossing_of(tables, row_class, kSign) + k);
    const V count_at_zero = sign > 0 ? V{} : V{} + T(tables.width - 2);
    const V middle_at_zero = sign > 0 ? V{} + T(0.5) : V{} + T(0.5) * T(tables.width - 1);
    V count_sums[3] = {}, value_sums[3] = {};
    for (int64_t i = block.begin; i < block.end; ++i) {
      const T y = grid_point<T>(i, tables.height);
      const V intercept = offset + slope_y * y;
      const V column = crossing_column<T>(intercept, inverse, shift, tables.width);
      const Columns crossing = __builtin_convertvector(column, Columns);
      store_as(b.crossings + (i - block.begin) * tables.padded + k, crossing);
      if (b.quantities == 1) continue;
      const V at = __builtin_convertvector(crossing, V);
      const V count = count_at_zero + sign * at, middle = middle_at_zero + T(0.5) * at;
      const V value = count * (intercept + step * middle);
      count_sums[0] += count;
      count_sums[1] += count * middle;
      count_sums[2] += count * y;
      value_sums[0] += value;
      value_sums[1] += value * middle + step * count * (count * count - T(1)) * (T(1) / T(12));
      value_sums[2] += value * y;
    }
    if (b.quantities == 1) continue;
    for (int m = 0; m < kMaskMoments; ++m) {
      const T scale = m == 1 ? spacing : T(1);
      T *const counted = counts + m * tables.padded + k, *const valued = values + m * tables.padded + k;
      store_as(counted, load_as<V>(counted) + count_sums[m] * scale);
      store_as(valued, load_as<V>(valued) + value_sums[m] * scale);
    }
  }
}

// Adds, for every row of the block, the running sums at `column` and the same times Y; columns are `column_step` apart.
template <typename T>
inline void gather(const Backward<T>& b, MaskRun block, const int32_t* column, int64_t column_step, const T* ys,
                   T* gathered) {
  using V = typename Octet<T>::type;
  V sums[3], times_y[3];
  for (int n = 0; n < 3; ++n) {
    sums[n] = load_as<V>(gathered + 8 * n);
    times_y[n] = load_as<V>(gathered + kMaskUpdate + 8 * n);
  }
  const T* row = b.running;
  for (int64_t i = 0; i < block.end - block.begin; ++i, row += 8 * (b.tables.width + 1)) {
    const T* const at = row + 8 * int64_t(column[i * column_step]);
    const T y = ys[i];
    for (int n = 0; n < 3; ++n) {
      const V value = load_as<V>(at + 8 * n);
      sums[n] += value;
      times_y[n] += value * y;
    }
  }
  for (int n = 0; n < 3; ++n) {
    store_as(gathered + 8 * n, sums[n]);
    store_as(gathered + kMaskUpdate + 8 * n, times_y[n]);
  }
}

// From the gathered sums to the moments of the gradient and the sums of relu(z) times the gradient.
template <typename T>
void interior_moments(Backward<T>& b, int row_class) {
  using Q = typename Quad<T>::type;
  const MaskTables<T>& tables = b.tables;
  const int pixel_class = row_class * kMaskSides;
  const T* const offsets = b.offsets + pixel_class * tables.padded;
  const T* const slope_y = affine_of(tables, pixel_class, kSlopeY);
  const T* const step = crossing_of(tables, row_class, kStep);
  const T* const sign = crossing_of(tables, row_class, kSign);
  const T *const first = b.ends, *const last = b.ends + 2 * kMaskUpdate;
  T* const moments = b.moments_of(kFromGradient);
  const T spacing = grid_step<T>(tables.width);
  for (int64_t k = 0; k < tables.channels; ++k) {
    const T* const at = b.gathered + 2 * kMaskUpdate * k;
    // Active before the crossing: there minus first; after it: last minus there.
    const T* const high = sign[k] > 0 ? at : last;
    const T* const low = sign[k] > 0 ? first : at;
    Q sum = {}, by_column = {}, by_y = {};
    for (int n = 0; n < 3; ++n) {
      const auto over = [&](int64_t place) { return load_as<Q>(high + place) - load_as<Q>(low + place); };
      const Q ones = over(8 * n), ys = over(kMaskUpdate + 8 * n);
      const Q columns = over(8 * n + 4) + ones * T(1 - n);  // the running sums count the output's columns
      const Q weights = load_as<Q>(b.tap_weights + 12 * k + 4 * n);
      sum += weights * ones;
      by_column += weights * columns;
      by_y += weights * ys;
      T* const products = b.tap_products + 12 * k + 4 * n;
      store_as(products, load_as<Q>(products) + columns * step[k] + ones * offsets[k] + ys * slope_y[k]);
    }
    moments[k] = sum[0] + sum[1] + sum[2];
    moments[tables.padded + k] = (by_column[0] + by_column[1] + by_column[2]) * spacing;
    moments[2 * tables.padded + k] = by_y[0] + by_y[1] + by_y[2];
  }
  for (int n = 0; n < 3; ++n) {
    for (int di = 0; di < 3; ++di) b.tap_sums[3 * di + 2 - n] += last[8 * n + di] - first[8 * n + di];
  }
}

template <typename T>
void interior_columns(Backward<T>& b, int row_class, MaskRun rows) {
  const MaskTables<T>& tables = b.tables;
  clear(b.gathered, 2 * kMaskUpdate * tables.padded);
  clear(b.ends, 4 * kMaskUpdate);
  const int32_t first = 0, last = static_cast<int32_t>(tables.width - 2);
  for (int64_t begin = rows.begin; begin < rows.end; begin += kMaskBlockRows) {
    const MaskRun block = {begin, begin + kMaskBlockRows < rows.end ? begin + kMaskBlockRows : rows.end};
    T ys[kMaskBlockRows];
    for (int64_t i = block.begin; i < block.end; ++i) {
      ys[i - block.begin] = grid_point<T>(i, tables.height);
      running_sums(b, i, b.running + (i - block.begin) * 8 * (tables.width + 1));
    }
    block_crossings(b, row_class, block);
    gather(b, block, &first, 0, ys, b.ends);
    gather(b, block, &last, 0, ys, b.ends + 2 * kMaskUpdate);
    for (int64_t k = 0; k < tables.channels; ++k) {
      gather(b, block, b.crossings + k, tables.padded, ys, b.gathered + 2 * kMaskUpdate * k);
    }
  }
  interior_moments(b, row_class);
}

// An outer column, pixel by pixel.
template <typename T>
void outer_column(Backward<T>& b, int row_class, MaskRun rows, int64_t j) {
  using V = typename Octet<T>::type;
  const MaskTables<T>& tables = b.tables;
  const int64_t padded = tables.padded;
  const int pixel_class = row_class * kMaskSides + mask_side_class(j, tables.width);
  const T x = grid_point<T>(j, tables.width);
  const auto tap_grad = [&](int64_t i, int tap) { return *b.grad_at(i + 1 - tap / 3, j + 1 - tap % 3); };
  for (int64_t k = 0; k < padded; k += kMaskLanes) {
    const V at_zero =
        load_as<V>(b.offsets + pixel_class * padded + k) + load_as<V>(affine_of(tables, pixel_class, kSlopeX) + k) * x;
    const V slope_y = load_as<V>(affine_of(tables, pixel_class, kSlopeY) + k);
    V products[9], sum = {}, by_y = {};
    for (int tap = 0; tap < 9; ++tap) products[tap] = load_as<V>(b.outer_products + tap * padded + k);
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      const T y = grid_point<T>(i, tables.height);
      const V z = at_zero + slope_y * y, value = positive_part(z);
      V reaching = {};
      for (int tap = 0; tap < 9; ++tap) {
        const T g = tap_grad(i, tap);
        reaching += load_as<V>(tables.weights + tap * padded + k) * g;
        products[tap] += value * g;
      }
      reaching = z <= 0 ? V{} : reaching;
      sum += reaching;
      by_y += reaching * y;
    }
    for (int tap = 0; tap < 9; ++tap) store_as(b.outer_products + tap * padded + k, products[tap]);
    T* const moments = b.moments_of(kFromGradient) + k;
    store_as(moments, sum);
    store_as(moments + padded, sum * x);
    store_as(moments + 2 * padded, by_y);
    if (b.quantities == 1) continue;
    V count = {}, count_y = {}, values = {}, values_y = {};
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      const T y = grid_point<T>(i, tables.height);
      const V z = at_zero + slope_y * y, value = positive_part(z);
      const V one = z <= 0 ? V{} : V{} + T(1);
      count += one;
      count_y += one * y;
      values += value;
      values_y += value * y;
    }
    T *const counts = b.moments_of(kFromCount) + k, *const valued = b.moments_of(kFromValue) + k;
    store_as(counts, count);
    store_as(counts + padded, count * x);
    store_as(counts + 2 * padded, count_y);
    store_as(valued, values);
    store_as(valued + padded, values * x);
    store_as(valued + 2 * padded, values_y);
  }
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    for (int tap = 0; tap < 9; ++tap) b.tap_sums[tap] += tap_grad(i, tap);
  }
}

// Adds one class's moments of a symbol to the group's totals and to the symbol's box.
template <typename T>
void add_class(const Backward<T>& b, int pixel_class, const T* box, T* by_box) {
  using V = typename Octet<T>::type;
  const int64_t padded = b.tables.padded;
  for (int64_t q = 0; q < b.quantities; ++q) {
    const T* const moments = b.moments_of(static_cast<int>(q));
    T* const totals = b.totals + (pixel_class * b.quantities + q) * (kMaskMoments + 4) * padded;
    for (int64_t k = 0; k < padded; k += kMaskLanes) {
      const V first = load_as<V>(moments + k);
      for (int m = 0; m < kMaskMoments; ++m) {
        T* const total = totals + m * padded + k;
        store_as(total, load_as<V>(total) + load_as<V>(moments + m * padded + k));
      }
      for (int c = 0; c < 4; ++c) {
        T* const total = totals + (kMaskMoments + c) * padded + k;
        store_as(total, load_as<V>(total) + first * box[c]);
        T* const to_box = by_box + (q * 4 + c) * padded + k;
        store_as(to_box, load_as<V>(to_box) + first * load_as<V>(affine_of(b.tables, pixel_class, kBoxWeight + c) + k));
      }
    }
  }
}

// From the group's totals by class to sums for conv1's weights: an input's value at a tap is a coordinate of the tap's
// pixel, 2 (X + dj / (W - 1) - box_c) - 1 or the same in Y, where the image has that pixel.
template <typename T>
void weight_sums(const Backward<T>& b, double* sums) {
  const MaskTables<T>& tables = b.tables;
  const int64_t padded = tables.padded;
  const double across = tables.width > 1 ? 1.0 / double(tables.width - 1) : 0.0;
  const double down = tables.height > 1 ? 1.0 / double(tables.height - 1) : 0.0;
  clear(sums, b.quantities * kMaskWeightSums * padded);
  for (int c = 0; c < kMaskClasses; ++c) {
    const MaskRun rows = mask_run(c / kMaskSides, tables.height), columns = mask_run(c % kMaskSides, tables.width);
    if (rows.begin == rows.end || columns.begin == columns.end) continue;
    for (int64_t q = 0; q < b.quantities; ++q) {
      const T* const totals = b.totals + (c * b.quantities + q) * (kMaskMoments + 4) * padded;
      double* const out = sums + q * kMaskWeightSums * padded;
      for (int input = 0; input < 4; ++input) {
        const T* const coordinate = totals + (input % 2 == 0 ? 1 : 2) * padded;
        const T* const boxed = totals + (kMaskMoments + input) * padded;
        for (int tap = 0; tap < 9; ++tap) {
          const int di = tap / 3 - 1, dj = tap % 3 - 1;
          if (!mask_neighbour(c / kMaskSides, di) || !mask_neighbour(c % kMaskSides, dj)) continue;
          const double shift = 2 * (input % 2 == 0 ? across * dj : down * di) - 1;
          double* const to = out + (input * 9 + tap) * padded;
          for (int64_t k = 0; k < tables.channels; ++k) {
            to[k] += 2 * (double(coordinate[k]) - double(boxed[k])) + shift * double(totals[k]);
          }
        }
      }
      for (int64_t k = 0; k < tables.channels; ++k) out[4 * 9 * padded + k] += double(totals[k]);
    }
  }
}

template <typename T>
void symbol(Backward<T>& b, const T* grad_mask, const T* mask, const T* box, T* by_box) {
  const MaskTables<T>& tables = b.tables;
  through_the_sigmoid(b, grad_mask, mask);
  symbol_offsets(tables, box, b.offsets);
  clear(by_box, b.quantities * 4 * tables.padded);
  for (int row_class = 0; row_class < kMaskSides; ++row_class) {
    const MaskRun rows = mask_run(row_class, tables.height);
    if (rows.begin == rows.end) continue;
    if (tables.width > 2) {
      clear(b.moments, b.quantities * kMaskMoments * tables.padded);
      interior_columns(b, row_class, rows);
      add_class(b, row_class * kMaskSides, box, by_box);
    }
    for (int64_t j = 0; j < tables.width; j += tables.width > 1 ? tables.width - 1 : 1) {
      outer_column(b, row_class, rows, j);
      add_class(b, row_class * kMaskSides + mask_side_class(j, tables.width), box, by_box);
    }
  }
}

template <typename T>
void backward(const MaskTables<T>& tables, const T* grad_masks, const T* masks, const T* boxes, T* by_box, double* sums,
              int64_t begin, int64_t end, int64_t quantities, T* scratch) {
  Backward<T> b(tables, quantities, scratch);
  const int64_t padded = tables.padded, pixels = tables.height * tables.width;
  clear(b.grad, (tables.height + 2) * b.stride());
  clear(b.totals, kMaskClasses * quantities * (kMaskMoments + 4) * padded);
  clear(b.tap_products, 12 * padded);
  clear(b.outer_products, 9 * padded);
  clear(b.tap_weights, 12 * padded);
  for (int64_t k = 0; k < tables.channels; ++k) {
    for (int tap = 0; tap < 9; ++tap)
      b.tap_weights[12 * k + 4 * (2 - tap % 3) + tap / 3] = tables.weights[tap * padded + k];
  }
  double* const products = sums;
  double* const of_weights = products + 9 * padded;
  double* const of_taps = of_weights + quantities * kMaskWeightSums * padded;
  clear(of_taps, 9);
  for (int64_t v = begin; v < end; ++v) {
    clear(b.tap_sums, 9);
    symbol(b, grad_masks + v * pixels, masks + v * pixels, boxes + 4 * v, by_box + v * quantities * 4 * padded);
    for (int tap = 0; tap < 9; ++tap) of_taps[tap] += double(b.tap_sums[tap]);
  }
  for (int tap = 0; tap < 9; ++tap) {
    for (int64_t k = 0; k < tables.channels; ++k) {
      products[tap * padded + k] =
          double(b.tap_products[12 * k + 4 * (2 - tap % 3) + tap / 3]) + double(b.outer_products[tap * padded + k]);
    }
  }
  weight_sums(b, of_weights);
}

}  // namespace

#define HMEG_DEFINE_REFINE_MASKS_BACKWARD(T)                                                                        \
  void refine_masks_backward(const MaskTables<T>& tables, const T* grad_masks, const T* masks, const T* boxes,      \
                             T* by_box, double* sums, int64_t begin, int64_t end, int64_t quantities, T* scratch) { \
    backward<T>(tables, grad_masks, masks, boxes, by_box, sums, begin, end, quantities, scratch);                   \
  }

HMEG_DEFINE_REFINE_MASKS_BACKWARD(float)
HMEG_DEFINE_REFINE_MASKS_BACKWARD(double)

}  // namespace hmeg::simd::HMEG_SIMD
