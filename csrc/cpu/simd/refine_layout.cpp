// Compiled once per instruction set (HMEG_SIMD names it); see box_soft_mask.cpp for what may stand here.
#include "cpu/simd/refine_layout_simd.h"

#include "cpu/simd/mask_rows.h"
#include "cpu/simd/product.h"
#include "cpu/simd/refine_masks_simd.h"

namespace hmeg::simd::HMEG_SIMD {
namespace {

template <typename T>
void tile(const MaskTables<T>& tables, const T* boxes, const T* features, T* layout, int64_t begin, int64_t end,
          int64_t channels, int64_t first, int64_t last, T* scratch) {
  const MaskRowScratch<T> rows = mask_row_scratch(tables, scratch);
  T* const masks = scratch + mask_forward_scratch(tables.padded, tables.width);
  const int64_t pixels = (last - first) * tables.width, plane = tables.height * tables.width;
  T* const out = layout + first * tables.width;
  int64_t v = begin;
  do {  // an expression without symbols is written once, with zeros
    const int64_t count = end - v < kRefineSymbols ? end - v : kRefineSymbols;
    for (int64_t i = 0; i < count; ++i) mask_rows(tables, rows, boxes + 4 * (v + i), first, last, masks + i * pixels);
    const T* const factors = features + v * channels;
    if (v == begin) {
      products<T>(factors, channels, 1, masks, pixels, count, out, plane, pixels, channels);
    } else {
      products<T, true>(factors, channels, 1, masks, pixels, count, out, plane, pixels, channels);
    }
    v += kRefineSymbols;
  } while (v < end);
}

}  // namespace

#define HMEG_DEFINE_REFINE_LAYOUT(T)                                                                                \
  void refine_layout_tile(const MaskTables<T>& tables, const T* boxes, const T* features, T* layout, int64_t begin, \
                          int64_t end, int64_t channels, int64_t first, int64_t last, T* scratch) {                 \
    tile<T>(tables, boxes, features, layout, begin, end, channels, first, last, scratch);                           \
  }

HMEG_DEFINE_REFINE_LAYOUT(float)
HMEG_DEFINE_REFINE_LAYOUT(double)

}  // namespace hmeg::simd::HMEG_SIMD
