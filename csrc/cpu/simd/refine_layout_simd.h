// Single-threaded refine_layout of a tile of one expression, declared once per instruction set.
#pragma once

#include "cpu/simd/mask_tables.h"
#include "cpu/simd/variant.h"

namespace hmeg {

constexpr int64_t kRefineSymbols = 8;  // whose masks are held at a time

// Rows of a tile: about 1,024 pixels, so that eight masks stay in the first cache. Two more rows are computed for each
// tile, because a mask's row depends on its neighbours'.
static constexpr int64_t refine_tile_rows(int64_t width) { return width <= 256 ? 1024 / width : 4; }

}  // namespace hmeg

#define HMEG_DECLARE_REFINE_LAYOUT(T)                                                                                  \
  /* Rows [first, last) of the layout (C, H, W) of an expression with symbols [begin, end). scratch: for refine_masks, \
     then kRefineSymbols masks of the tile. */                                                                         \
  void refine_layout_tile(const MaskTables<T>& tables, const T* boxes, const T* features, T* layout, int64_t begin,    \
                          int64_t end, int64_t channels, int64_t first, int64_t last, T* scratch);

HMEG_DECLARE_VARIANTS(HMEG_DECLARE_REFINE_LAYOUT)
