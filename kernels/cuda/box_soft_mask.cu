// box_soft_mask: boxes (V, 4) -> masks (V, H, W), and the gradient of the boxes.
//
// A block owns kTileRows rows of one symbol's mask. Threads walk over it in packs of 16 bytes; the ramp along a row is
// kept as long as a thread stays in its columns. The backward pass reads the incoming gradient inside the box's support
// only, reduces in the block, and adds the tiles of one symbol in order: no atomics, bitwise equal from run to run.
#include "box_soft_mask.h"

#include "device.h"
#include "dtypes.h"
#include "entry.h"
#include "soft_ramp.h"

namespace hmeg {
namespace {

constexpr int kBlock = 256;
constexpr int kTileRows = 64;

// Walks a tile's packs, one in every kBlock, without a division per step.
struct Walk {
  int row, column, row_step, column_step, columns;

  HMEG_DEVICE explicit Walk(int columns)
      : row(thread_index() / columns),
        column(thread_index() % columns),
        row_step(kBlock / columns),
        column_step(kBlock % columns),
        columns(columns) {}

  HMEG_DEVICE void next() {
    row += row_step;
    column += column_step;
    if (column >= columns) column -= columns, ++row;
  }
};

template <typename T, int kPack>
HMEG_KERNEL box_soft_mask_forward(const T* boxes, T* masks, int64_t height, int64_t width, int64_t tiles) {
  using A = Accumulator<T>;
  const int64_t symbol = block_index() / tiles, first_row = block_index() % tiles * kTileRows;
  const T* const box = boxes + 4 * symbol;
  const Side<A> across(widen(box[0]), widen(box[2]), width), down(widen(box[1]), widen(box[3]), height);
  const int rows = static_cast<int>(height - first_row < kTileRows ? height - first_row : kTileRows);
  T* const tile = masks + (symbol * height + first_row) * width;
  A along_row[kPack] = {};
  int held = -1;
  for (Walk at(static_cast<int>(width / kPack)); at.row < rows; at.next()) {
    if (at.column != held) {
      held = at.column;
      for (int k = 0; k < kPack; ++k) along_row[k] = SoftRamp<A>(across, int64_t(held) * kPack + k).value;
    }
    const A factor = SoftRamp<A>(down, first_row + at.row).value;
    Pack<T, kPack> pack;
    for (int k = 0; k < kPack; ++k) pack.items[k] = narrow<T>(factor * along_row[k]);
    store_pack(tile + at.row * width + int64_t(at.column) * kPack, pack);
  }
}

// Sums of one tile: to grad_boxes (V, 4) when a symbol has one tile, else to partial (V, tiles, 4).
template <typename T, int kPack>
HMEG_KERNEL box_soft_mask_backward(const T* grad_masks, const T* boxes, T* grad_boxes, Accumulator<T>* partial,
                                   int64_t height, int64_t width, int64_t tiles) {
  using A = Accumulator<T>;
  const int64_t symbol = block_index() / tiles, first_row = block_index() % tiles * kTileRows;
  const T* const box = boxes + 4 * symbol;
  const Side<A> across(widen(box[0]), widen(box[2]), width), down(widen(box[1]), widen(box[3]), height);
  const int rows = static_cast<int>(height - first_row < kTileRows ? height - first_row : kTileRows);
  const T* const tile = grad_masks + (symbol * height + first_row) * width;
  A sums[4] = {A(0), A(0), A(0), A(0)};  // by x0, y0, x1, y1
  SoftRamp<A> along_row[kPack];
  bool outside = true;
  int held = -1;
  for (Walk at(static_cast<int>(width / kPack)); at.row < rows; at.next()) {
    if (at.column != held) {
      held = at.column;
      outside = true;
      for (int k = 0; k < kPack; ++k) {
        along_row[k] = SoftRamp<A>(across, int64_t(held) * kPack + k);
        outside = outside && along_row[k].zero();
      }
    }
    const SoftRamp<A> along_column(down, first_row + at.row);
    if (outside || along_column.zero()) continue;
    const Pack<T, kPack> grad = load_pack<kPack>(tile + at.row * width + int64_t(at.column) * kPack);
    A row = A(0);
    for (int k = 0; k < kPack; ++k) {
      const A value = widen(grad.items[k]);
      row += value * along_row[k].value;
      sums[0] += value * along_column.value * along_row[k].by_low;
      sums[2] += value * along_column.value * along_row[k].by_high;
    }
    sums[1] += row * along_column.by_low;
    sums[3] += row * along_column.by_high;
  }
  block_sum<kBlock>(sums);
  if (thread_index() == 0) {
    for (int k = 0; k < 4; ++k) {
      if (tiles == 1) {
        grad_boxes[4 * symbol + k] = narrow<T>(sums[k]);
      } else {
        partial[4 * block_index() + k] = sums[k];
      }
    }
  }
}

// partial (V, tiles, 4) -> grad_boxes (V, 4), a thread for each number.
template <typename T>
HMEG_KERNEL box_soft_mask_sum_tiles(const Accumulator<T>* partial, T* grad_boxes, int64_t numbers, int64_t tiles) {
  const int64_t number = block_index() * kBlock + thread_index();
  if (number >= numbers) return;
  Accumulator<T> sum = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) sum += partial[(number / 4 * tiles + tile) * 4 + number % 4];
  grad_boxes[number] = narrow<T>(sum);
}

int64_t tiles_of(int64_t height) { return (height + kTileRows - 1) / kTileRows; }

const char* run_forward(const BoxSoftMaskForward& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kPack = 16 / sizeof(T);
    auto* const out = static_cast<T*>(given.masks);
    const int64_t tiles = tiles_of(given.height);
    const auto kernel =
        packs_fit<kPack>(out, given.width) ? box_soft_mask_forward<T, kPack> : box_soft_mask_forward<T, 1>;
    return launch<kBlock>(kernel, given.symbols * tiles, call.stream, static_cast<const T*>(given.boxes), out,
                          given.height, given.width, tiles);
  });
}

HMEG_ENTRY(kCuda, box_soft_mask_forward, run_forward);

// The sums of every tile, where a mask has several.
int64_t backward_workspace(const BoxSoftMaskBackward& given, const Call& call) {
  const int64_t tiles = tiles_of(given.height);
  return tiles > 1 ? 4 * given.symbols * tiles * sum_bytes(call.dtype) : 0;
}

const char* run_backward(const BoxSoftMaskBackward& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kPack = 16 / sizeof(T);
    const auto* const grad = static_cast<const T*>(given.grad_masks);
    auto* const out = static_cast<T*>(given.grad_boxes);
    auto* const partial = static_cast<Accumulator<T>*>(call.workspace);
    const int64_t tiles = tiles_of(given.height);
    const auto kernel =
        packs_fit<kPack>(grad, given.width) ? box_soft_mask_backward<T, kPack> : box_soft_mask_backward<T, 1>;
    const char* error =
        launch<kBlock>(kernel, given.symbols * tiles, call.stream, grad, static_cast<const T*>(given.boxes), out,
                       partial, given.height, given.width, tiles);
    if (error != nullptr || tiles == 1) return error;
    const int64_t numbers = 4 * given.symbols;
    return launch<kBlock>(box_soft_mask_sum_tiles<T>, (numbers + kBlock - 1) / kBlock, call.stream,
                          static_cast<const Accumulator<T>*>(partial), out, numbers, tiles);
  });
}

HMEG_ENTRY(kCuda, box_soft_mask_backward, run_backward, backward_workspace);

}  // namespace
}  // namespace hmeg
