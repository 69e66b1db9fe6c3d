// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
//
// A box covers a few columns of a few rows of every channel. Forward: a block of channels is cleared in the cache, then
// each symbol adds its rows there. Backward: one symbol's rows of the gradient are read once, channel by channel, in
// vectors as wide as the box allows, and give both gradients.
#include "cpu/simd/box_layout_simd.h"

#include <string.h>

#include "box_layout.h"
#include "cpu/simd/soft_ramp.h"
#include "cpu/simd/wide.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

constexpr int64_t kBandBytes = 128 * 1024;  // of a block of channels: what stays in the second-level cache

inline int64_t at_most(int64_t value, int64_t limit) { return value < limit ? value : limit; }

template <typename T>
bool any_nan(const T* values, int64_t count) {
  bool found = false;
  for (int64_t k = 0; k < count; ++k) found = found || values[k] != values[k];
  return found;
}

// Where down[i] * across[j] or its derivatives can be other than zero. Zero times NaN is NaN: a NaN on either axis
// makes it everywhere.
template <typename T>
BoxSupport support_of(const T* down, const T* down_by_y0, const T* down_by_y1, const T* across, const T* across_by_x0,
                      const T* across_by_x1, int height, int width) {
  BoxSupport where{0, width, 0, height};
  if (any_nan(down, height) || any_nan(across, width)) return where;
  support(across, across_by_x0, across_by_x1, width, &where.left, &where.right);
  support(down, down_by_y0, down_by_y1, height, &where.top, &where.bottom);
  return where;
}

template <typename T>
void find_ramps(const T* boxes, T* ramps, BoxSupport* supports, int64_t begin, int64_t end, int64_t height,
                int64_t width) {
  for (int64_t v = begin; v < end; ++v) {
    const T* const box = boxes + 4 * v;
    T* const down = ramps + v * (height + width);
    T* const across = down + height;
    soft_ramp(box[1], box[3], static_cast<int>(height), down);
    soft_ramp(box[0], box[2], static_cast<int>(width), across);
    supports[v] =
        support_of(down, down, down, across, across, across, static_cast<int>(height), static_cast<int>(width));
  }
}

template <typename T>
void forward(const T* features, const T* ramps, const BoxSupport* supports, T* layout, int64_t graph, int64_t begin,
             int64_t end, int64_t channel, int64_t channels, int64_t height, int64_t width) {
  const int64_t block = at_most(kBoxLayoutChannels, channels - channel), plane = height * width;
  T* const out = layout + (graph * channels + channel) * plane;
  const int64_t fitting = kBandBytes / (block * width * int64_t(sizeof(T)));
  const int64_t band = fitting < 1 ? 1 : fitting;
  for (int64_t first = 0; first < height; first += band) {
    const int64_t last = at_most(first + band, height);
    for (int64_t c = 0; c < block; ++c) memset(out + c * plane + first * width, 0, (last - first) * width * sizeof(T));
    for (int64_t v = begin; v < end; ++v) {
      const BoxSupport where = supports[v];
      const T* const down = ramps + v * (height + width);
      const T* const across = down + height;
      const int64_t top = where.top > first ? where.top : first, bottom = at_most(where.bottom, last);
      for (int64_t c = 0; c < block; ++c) {
        const T feature = features[v * channels + channel + c];
        for (int64_t i = top; i < bottom; ++i) {
          const T factor = feature * down[i];
          T* const row = out + c * plane + i * width;
          for (int64_t j = where.left; j < where.right; ++j) row[j] += factor * across[j];
        }
      }
    }
  }
}

// A number of lanes as a type, to choose a function by.
template <int kValue>
struct Lanes {
  static constexpr int value = kValue;
};

// The columns of a box as packs that lie inside its support, the last one moved back over its neighbour where it would
// reach out. Columns that a pack repeats have the weight 0 there.
template <typename T>
struct Packs {
  int64_t count;
  int32_t* start;                           // (count,) first column of each
  T *across, *across_by_x0, *across_by_x1;  // (count * lanes,)
};

template <typename T>
int64_t lay_out(const BoxSupport& where, int64_t lanes, const T* across, const T* by_x0, const T* by_x1,
                const Packs<T>& packs) {
  int64_t count = 0;
  for (int64_t begin = where.left; begin < where.right; begin += lanes, ++count) {
    const int64_t start = begin + lanes <= where.right ? begin : where.right - lanes;
    packs.start[count] = int32_t(start);
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const int64_t j = start + lane, to = count * lanes + lane;
      packs.across[to] = j < begin ? T(0) : across[j];
      packs.across_by_x0[to] = j < begin ? T(0) : by_x0[j];
      packs.across_by_x1[to] = j < begin ? T(0) : by_x1[j];
    }
  }
  return count;
}

// One channel of one symbol, `grad` its plane: painted[i] += feature * grad in the support; returns the sum of
// mask * grad.
template <typename T, int kCount>
T read_channel(const T* grad, T feature, const T* down, const BoxSupport& where, const Packs<T>& packs, int64_t width,
               T* painted) {
  using P = Pack<T, kCount>;
  P total = {};
  for (int64_t i = where.top; i < where.bottom; ++i) {
    const T* const row = grad + i * width;
    const T factor = down[i];
    for (int64_t k = 0; k < packs.count; ++k, painted += kCount) {
      const P value = load_as<P>(row + packs.start[k]);
      store_as(painted, load_as<P>(painted) + feature * value);
      total += (factor * load_as<P>(packs.across + k * kCount)) * value;
    }
  }
  return sum_of<T>(total);
}

// Both gradients of one symbol, whose channels of the gradient begin at `grad`.
template <typename T, int kCount>
void backward_of(const T* grad, const T* features, const T* down, const T* down_by_y0, const T* down_by_y1,
                 const BoxSupport& where, const Packs<T>& packs, int64_t channels, int64_t height, int64_t width,
                 T* painted, T* column, T* grad_features, T* grad_box) {
  const int64_t rows = where.bottom - where.top, lanes = packs.count * kCount;
  for (int64_t k = 0; k < rows * lanes; ++k) painted[k] = T(0);
  for (int64_t c = 0; c < channels; ++c) {
    grad_features[c] =
        read_channel<T, kCount>(grad + c * height * width, features[c], down, where, packs, width, painted);
  }
  // `painted` is now the gradient by the mask; from here on it is that of box_soft_mask.
  for (int64_t k = 0; k < lanes; ++k) column[k] = T(0);
  T by_x0 = T(0), by_y0 = T(0), by_x1 = T(0), by_y1 = T(0);
  for (int64_t r = 0; r < rows; ++r) {
    const T* const by_mask = painted + r * lanes;
    const T factor = down[where.top + r];
    T along = T(0);
    for (int64_t k = 0; k < lanes; ++k) {
      along += by_mask[k] * packs.across[k];
      column[k] += by_mask[k] * factor;
    }
    by_y0 += along * down_by_y0[where.top + r];
    by_y1 += along * down_by_y1[where.top + r];
  }
  for (int64_t k = 0; k < lanes; ++k) {
    by_x0 += column[k] * packs.across_by_x0[k];
    by_x1 += column[k] * packs.across_by_x1[k];
  }
  grad_box[0] = by_x0, grad_box[1] = by_y0, grad_box[2] = by_x1, grad_box[3] = by_y1;
}

template <typename T>
void backward(const T* grad_layout, const T* features, const T* boxes, const int64_t* batch, T* grad_features,
              T* grad_boxes, int64_t begin, int64_t end, int64_t channels, int64_t height, int64_t width, T* scratch) {
  T* const down = scratch;
  T* const down_by_y0 = down + height;
  T* const down_by_y1 = down_by_y0 + height;
  T* const across = down_by_y1 + height;
  T* const across_by_x0 = across + width;
  T* const across_by_x1 = across_by_x0 + width;
  T* const wide = across_by_x1 + width;  // rows of up to width + 15: packs repeat columns
  const int64_t stride = width + 16;
  Packs<T> packs{0, reinterpret_cast<int32_t*>(wide), wide + stride, wide + 2 * stride, wide + 3 * stride};
  T* const column = wide + 4 * stride;
  T* const painted = wide + 5 * stride;
  for (int64_t v = begin; v < end; ++v) {
    const T* const box = boxes + 4 * v;
    soft_ramp_and_slopes(box[1], box[3], static_cast<int>(height), down, down_by_y0, down_by_y1);
    soft_ramp_and_slopes(box[0], box[2], static_cast<int>(width), across, across_by_x0, across_by_x1);
    const BoxSupport where = support_of(down, down_by_y0, down_by_y1, across, across_by_x0, across_by_x1,
                                        static_cast<int>(height), static_cast<int>(width));
    const T* const grad = grad_layout + batch[v] * channels * height * width;
    const auto run = [&](auto lanes) {
      constexpr int kCount = decltype(lanes)::value;
      packs.count = lay_out(where, kCount, across, across_by_x0, across_by_x1, packs);
      backward_of<T, kCount>(grad, features + v * channels, down, down_by_y0, down_by_y1, where, packs, channels,
                             height, width, painted, column, grad_features + v * channels, grad_boxes + 4 * v);
    };
    constexpr int kFull = kRegisterLanes<T>, kHalf = kFull / 2, kQuarter = kFull / 4 > 0 ? kFull / 4 : 1;
    const int columns = where.right - where.left;
    if (columns >= kFull) {
      run(Lanes<kFull>{});
    } else if (columns >= kHalf) {
      run(Lanes<kHalf>{});
    } else if (columns >= kQuarter) {
      run(Lanes<kQuarter>{});
    } else {
      run(Lanes<1>{});
    }
  }
}

}  // namespace

#define HMEG_DEFINE_BOX_LAYOUT(T)                                                                                    \
  void box_layout_ramps(const T* boxes, T* ramps, BoxSupport* supports, int64_t begin, int64_t end, int64_t height,  \
                        int64_t width) {                                                                             \
    find_ramps<T>(boxes, ramps, supports, begin, end, height, width);                                                \
  }                                                                                                                  \
  void box_layout_forward(const T* features, const T* ramps, const BoxSupport* supports, T* layout, int64_t graph,   \
                          int64_t begin, int64_t end, int64_t channel, int64_t channels, int64_t height,             \
                          int64_t width) {                                                                           \
    forward<T>(features, ramps, supports, layout, graph, begin, end, channel, channels, height, width);              \
  }                                                                                                                  \
  void box_layout_backward(const T* grad_layout, const T* features, const T* boxes, const int64_t* batch,            \
                           T* grad_features, T* grad_boxes, int64_t begin, int64_t end, int64_t channels,            \
                           int64_t height, int64_t width, T* scratch) {                                              \
    backward<T>(grad_layout, features, boxes, batch, grad_features, grad_boxes, begin, end, channels, height, width, \
                scratch);                                                                                            \
  }

HMEG_DEFINE_BOX_LAYOUT(float)
HMEG_DEFINE_BOX_LAYOUT(double)

}  // namespace hmeg::simd::HMEG_SIMD
