// The backward pass of refine_masks. It reads the masks and their incoming gradient once.
//
// With g = grad m (1 - m), a hidden value r at a pixel meets nine of g's values, one for each tap. Along a row r is a
// plane and positive on an interval, so all that is needed of it there are sums of g and of X g over that interval:
// differences of prefix sums, which lie in shared memory, two numbers a pixel. A thread is one channel and walks down
// the rows; what it collects are moments of the gradient at conv1's output (sums of 1, X and Y times it) for every
// border class. The batch norm's part of that gradient, c1 + c2 r, is known at the end only, so its moments are
// collected too and combined then. Moments of a symbol's tile go to the workspace and are summed over symbols in a
// fixed order.
#include "device.h"
#include "dtypes.h"
#include "entry.h"
#include "mask_weights.h"
#include "ramp_convolution.h"
#include "refine_masks.h"

namespace hmeg {

namespace {

constexpr int kBlock = 256, kChannels = 64, kGroups = kBlock / kChannels;
constexpr int kTileColumns = 64, kTableRow = 2 * (kTileColumns + 3);
template <typename A>
constexpr int kTileRows = sizeof(A) == 8 ? 24 : 64;

// Moments of one row class: over its three column classes of 1; between the columns, of X; where rows differ, of Y.
constexpr int kRowMoments = 7, kMoments = 15;
HMEG_DEVICE int row_moments(int row_class) { return row_class == 1 ? 7 : 4; }
HMEG_DEVICE int first_moment(int row_class) { return row_class == 0 ? 0 : row_class == 1 ? 4 : 11; }

// Quantities of a channel: nine products of r with g, one a tap, then the moments of what comes from above (dy), and in
// training those of 1 and of r where r is positive.
template <bool kTraining>
constexpr int kQuantities = kTaps + kMoments * (kTraining ? 3 : 1);

struct GradTiles {
  int64_t symbols, channels, height, width;
  int64_t rows, row_tiles, column_tiles, channel_blocks;

  int64_t tiles;  // of one symbol
};

// A block's tile of a symbol's pixels.
struct Tile {
  int64_t unit, symbol, first_row, first_column;
  int rows, columns;

  HMEG_DEVICE explicit Tile(const GradTiles& tiles) {
    unit = block_index() / tiles.channel_blocks, symbol = unit / tiles.tiles;
    const int64_t tile = unit % tiles.tiles;
    first_row = tile / tiles.column_tiles * tiles.rows, first_column = tile % tiles.column_tiles * kTileColumns;
    rows = static_cast<int>(tiles.height - first_row < tiles.rows ? tiles.height - first_row : tiles.rows);
    columns = static_cast<int>(tiles.width - first_column < kTileColumns ? tiles.width - first_column : kTileColumns);
  }
};

// g of the tile and of the pixels around it to `prefix`; shares: of g, by the taps that have a pixel to meet.
template <typename T, typename Prefix>
HMEG_DEVICE void stage_gradients(Prefix& prefix, Accumulator<T> (&shares)[kTaps], const T* grad_masks, const T* masks,
                                 const Tile& tile, const GradTiles& tiles) {
  using A = Accumulator<T>;
  const int width = tile.columns + 2;
  for (int item = thread_index(); item < (tile.rows + 2) * width; item += kBlock) {
    const int row = item / width, column = item % width;
    const int64_t i = tile.first_row + row - 1, j = tile.first_column + column - 1;
    A g = 0;
    if (i >= 0 && i < tiles.height && j >= 0 && j < tiles.width) {
      const int64_t pixel = (tile.symbol * tiles.height + i) * tiles.width + j;
      const A mask = widen(masks[pixel]);
      g = A(widen(grad_masks[pixel])) * (mask * (A(1) - mask));
      if (row > 0 && row <= tile.rows && column > 0 && column <= tile.columns) {
        const int cls = 3 * class_along(i, tiles.height) + class_along(j, tiles.width);
        HMEG_UNROLL
        for (int tap = 0; tap < kTaps; ++tap) {
          if (has_neighbour(cls, tap / 3 - 1, tap % 3 - 1, tiles.height, tiles.width)) shares[tap] += g;
        }
      }
    }
    prefix[row * kTableRow + 2 * column + 2] = g;
  }
}

// In place, row by row: [row + 1][column + 1] becomes the sums of g and of X g over the columns before.
template <typename A, typename Prefix>
HMEG_DEVICE void sum_rows(Prefix& prefix, const Tile& tile, int64_t width, A across) {
  if (thread_index() >= tile.rows + 2) return;
  const int line = thread_index() * kTableRow;
  A sum = 0, weighted = 0;
  prefix[line] = prefix[line + 1] = A(0);
  for (int column = 0; column < tile.columns + 2; ++column) {
    const A g = prefix[line + 2 * column + 2];
    sum += g;
    weighted += g * grid_point(tile.first_column + column - 1, width, across);
    prefix[line + 2 * column + 2] = sum;
    prefix[line + 2 * column + 3] = weighted;
  }
}

// The tile's rows of a class.
struct Rows {
  int begin, end;
};

HMEG_DEVICE Rows rows_of(int row_class, const Tile& tile, int64_t height) {
  const int last = tile.rows - 1, above = static_cast<int>(tile.first_row < 1 ? tile.first_row : 1);
  Rows rows{row_class == 0 ? 0 : row_class == 1 ? 1 - above : last, row_class == 0 ? 1 : tile.rows};
  if (row_class == 0 && tile.first_row > 0) rows.end = 0;
  if (row_class == 1 && tile.first_row + tile.rows == height) rows.end = last;
  if (row_class == 2 && (tile.first_row + tile.rows < height || height == 1)) rows.begin = tile.rows;
  return rows;
}

// What a thread collects of its channel: products with g over all rows, moments of one row class.
template <typename A, bool kTraining>
struct Collected {
  static constexpr int kParts = kTraining ? 3 : 1;
  A products[kTaps] = {};
  A sums[kParts][kRowMoments];

  // A pixel of its own column class, the first or the last, where the hidden value is z.
  template <typename Prefix>
  HMEG_DEVICE void add_pixel(const Prefix& prefix, const A (&weight)[kTaps], int row, int column, A z, A y,
                             int column_class) {
    if (z <= A(0)) return;  // NaN goes on
    A above = 0;
    HMEG_UNROLL
    for (int d = 0; d < 3; ++d) {  // the tap's row, from -1 on; g stands that much further up
      const int at = (row + 2 - d) * kTableRow + 2 * column;
      HMEG_UNROLL
      for (int a = 0; a < 3; ++a) {
        const A g = prefix[at + 2 * (3 - a)] - prefix[at + 2 * (2 - a)];
        products[3 * d + a] += z * g;
        above += weight[3 * d + a] * g;
      }
    }
    sums[0][column_class] += above;
    sums[0][4 + column_class] += y * above;
    if (kTraining) {
      sums[kParts - 2][column_class] += A(1);
      sums[kParts - 2][4 + column_class] += y;
      sums[kParts - 1][column_class] += z;
      sums[kParts - 1][4 + column_class] += y * z;
    }
  }

  // The pixels between, `active` of them from column `first` on: the hidden values are a X + e there, and start + step
  // k at the kth, whose X is x + across k.
  template <typename Prefix>
  HMEG_DEVICE void add_interval(const Prefix& prefix, const A (&weight)[kTaps], int row, int first,
                                const Interval& active, A a_slope, A e, A start, A step, A x, A across, A y) {
    const int from = 2 * (first + active.begin + 1), to = 2 * (first + active.end + 1);
    A above = 0, above_x = 0;
    HMEG_UNROLL
    for (int d = 0; d < 3; ++d) {
      const int at = (row + 2 - d) * kTableRow;
      HMEG_UNROLL
      for (int a = 0; a < 3; ++a) {
        const auto low = load_shared<2>(prefix, at + from + 2 * (1 - a));
        const auto high = load_shared<2>(prefix, at + to + 2 * (1 - a));
        const A g = high.items[0] - low.items[0];
        const A x_g = (high.items[1] - low.items[1]) + A(a - 1) * across * g;  // X where r is, not where g is
        products[3 * d + a] += a_slope * x_g + e * g;
        above += weight[3 * d + a] * g;
        above_x += weight[3 * d + a] * x_g;
      }
    }
    sums[0][1] += above;
    sums[0][3] += above_x;
    sums[0][5] += y * above;
    if (kTraining) {
      const A number = A(active.end - active.begin), half = A(active.begin + active.end - 1) / A(2);
      const A middle = x + across * half, r = start + step * half;
      sums[kParts - 2][1] += number;
      sums[kParts - 2][3] += number * middle;
      sums[kParts - 2][5] += number * y;
      sums[kParts - 1][1] += number * r;
      sums[kParts - 1][3] += number * (middle * r + across * step * ((number * number - A(1)) * A(1.0 / 12.0)));
      sums[kParts - 1][5] += number * r * y;
    }
  }
};

// Adds up `count` values of every thread over the groups of a channel, in their order, and stores them `stride` apart.
template <int kCount, typename A, typename Staged>
HMEG_DEVICE void store_groups(Staged& staged, const A (&values)[kCount], int stored, A* to, int64_t stride,
                              int channels) {
  sync_block();
  HMEG_UNROLL
  for (int n = 0; n < kCount; ++n) staged[n * kBlock + thread_index()] = values[n];
  sync_block();
  for (int item = thread_index(); item < stored * kChannels; item += kBlock) {
    const int n = item / kChannels, c = item % kChannels;
    if (c >= channels) continue;
    A sum = 0;
    for (int g = 0; g < kGroups; ++g) sum += staged[n * kBlock + g * kChannels + c];
    to[n * stride + c] = sum;
  }
}

template <typename T, bool kTraining>
HMEG_KERNEL_FITTED(kBlock, sizeof(T) == 8 ? 1 : 2)
refine_masks_moments(const T* grad_masks, const T* masks, const T* boxes, const T* conv2_weight,
                     const Accumulator<T>* table, Accumulator<T>* moments, Accumulator<T>* grad_sums, GradTiles tiles) {
  using A = Accumulator<T>;
  constexpr int kTableRows = kTileRows<A> + 2;
  HMEG_SHARED(A, prefix, kTableRows * kTableRow);
  HMEG_SHARED(A, staged, kRowMoments * kBlock);
  const Tile tile(tiles);
  const A across = grid_step<A>(tiles.width), down = grid_step<A>(tiles.height);
  A shares[kTaps] = {};
  stage_gradients(prefix, shares, grad_masks, masks, tile, tiles);
  block_sum<kBlock>(shares);
  if (thread_index() < kTaps && block_index() % tiles.channel_blocks == 0) {
    HMEG_UNROLL
    for (int tap = 0; tap < kTaps; ++tap) {
      if (thread_index() == tap) grad_sums[tile.unit * kTaps + tap] = shares[tap];
    }
  }
  sum_rows(prefix, tile, tiles.width, across);
  sync_block();

  const int64_t first_channel = block_index() % tiles.channel_blocks * kChannels;
  const int64_t channel = first_channel + thread_index() % kChannels;
  const int group = thread_index() / kChannels;
  const bool present = channel < tiles.channels;
  const int64_t known = present ? channel : 0;
  const int count =
      static_cast<int>(tiles.channels - first_channel < kChannels ? tiles.channels - first_channel : kChannels);
  const T* const corner = boxes + 4 * tile.symbol;
  const A box[4] = {widen(corner[0]), widen(corner[1]), widen(corner[2]), widen(corner[3])};
  A weight[kTaps];
  HMEG_UNROLL
  for (int tap = 0; tap < kTaps; ++tap) weight[tap] = widen(conv2_weight[known * kTaps + tap]);
  const bool has_first = tile.first_column == 0;
  const bool has_last = tiles.width > 1 && tile.first_column + tile.columns == tiles.width;
  const int inner_begin = has_first ? 1 : 0, inner_end = tile.columns - (has_last ? 1 : 0);  // columns of the tile
  const int inner = inner_end > inner_begin ? inner_end - inner_begin : 0;
  const A inner_x = grid_point(tile.first_column + inner_begin, tiles.width, across);

  A* const record = moments + tile.unit * kQuantities<kTraining> * tiles.channels + first_channel;
  Collected<A, kTraining> collected;
  for (int row_class = 0; row_class < 3; ++row_class) {
    HMEG_UNROLL
    for (int part = 0; part < collected.kParts; ++part) {
      HMEG_UNROLL
      for (int n = 0; n < kRowMoments; ++n) collected.sums[part][n] = A(0);
    }
    const Rows rows = rows_of(row_class, tile, tiles.height);
    if (present && rows.begin < rows.end) {
      const Plane<A> left = plane_of(table, 3 * row_class, known, tiles.channels, box);
      const Plane<A> middle = plane_of(table, 3 * row_class + 1, known, tiles.channels, box);
      const Plane<A> right = plane_of(table, 3 * row_class + 2, known, tiles.channels, box);
      const A step = middle.a * across, reciprocal_step = A(1) / step;
      for (int row = rows.begin + group; row < rows.end; row += kGroups) {
        const A y = grid_point(tile.first_row + row, tiles.height, down);
        if (has_first) collected.add_pixel(prefix, weight, row, 0, left.c * y + left.d, y, 0);
        if (has_last) {
          collected.add_pixel(prefix, weight, row, tile.columns - 1, right.a + (right.c * y + right.d), y, 2);
        }
        const A e = middle.c * y + middle.d, start = middle.a * inner_x + e;
        const Interval active = positive_interval(start, step, reciprocal_step, inner);
        if (active.begin >= active.end) continue;
        collected.add_interval(prefix, weight, row, inner_begin, active, middle.a, e, start, step, inner_x, across, y);
      }
    }
    HMEG_UNROLL
    for (int part = 0; part < collected.kParts; ++part) {
      store_groups(staged, collected.sums[part], row_moments(row_class),
                   record + (kTaps + part * kMoments + first_moment(row_class)) * tiles.channels, tiles.channels,
                   count);
    }
  }
  HMEG_UNROLL
  for (int half = 0; half < kTaps; half += kRowMoments) {
    A some[kRowMoments];
    HMEG_UNROLL
    for (int n = 0; n < kRowMoments; ++n)
      some[n] = half + n < kTaps ? collected.products[half + n < kTaps ? half + n : 0] : A(0);
    store_groups(staged, some, half + kRowMoments < kTaps ? kRowMoments : kTaps - half, record + half * tiles.channels,
                 tiles.channels, count);
  }
}

// Sums over all units: of every quantity, plain and times each of the box's four numbers, to (Q, 5, K); in the last
// blocks, of grad_sums, to (9) behind those. A block has 32 channels of one quantity.
constexpr int kSumBlock = 512, kSumLanes = kSumBlock / 32;

template <typename T>
HMEG_KERNEL refine_masks_sum(const T* boxes, const Accumulator<T>* moments, const Accumulator<T>* grad_sums,
                             Accumulator<T>* totals, int64_t units, int64_t tiles, int64_t count, int64_t channels,
                             int64_t channel_blocks) {
  using A = Accumulator<T>;
  HMEG_SHARED(A, staged, 5 * kSumBlock);
  const int64_t quantity = block_index() / channel_blocks;
  const bool is_grad = quantity == count;  // one block, nine "channels"
  const int64_t channel = block_index() % channel_blocks * 32 + thread_index() % 32;
  const int64_t width = is_grad ? kTaps : channels;
  const A* const from = is_grad ? grad_sums : moments + quantity * channels;
  const int64_t stride = is_grad ? kTaps : count * channels;
  A sums[5] = {};
  if (channel < width) {
    HMEG_UNROLL4
    for (int64_t unit = thread_index() / 32; unit < units; unit += kSumLanes) {
      const A value = from[unit * stride + channel];
      const T* const box = boxes + unit / tiles * 4;
      sums[0] += value;
      HMEG_UNROLL
      for (int side = 0; side < 4; ++side) sums[1 + side] += value * A(widen(box[side]));
    }
  }
  HMEG_UNROLL
  for (int n = 0; n < 5; ++n) staged[n * kSumBlock + thread_index()] = sums[n];
  sync_block();
  const int n = thread_index() / 32, lane = thread_index() % 32;
  if (n >= 5 || channel >= width) return;
  A total = 0;
  for (int other = 0; other < kSumLanes; ++other) total += staged[n * kSumBlock + other * 32 + lane];
  if (!is_grad) {
    totals[(quantity * 5 + n) * channels + channel] = total;
  } else if (n == 0) {
    totals[count * 5 * channels + channel] = total;
  }
}

// Gradient at conv1's output from its parts: dz = s (dy - c1 - c2 r) where r > 0.
template <typename A>
struct NormFactors {
  A scale, constant, slope;

  template <bool kTraining>
  HMEG_DEVICE A combine(const A* first, int64_t part_stride) const {
    A value = first[0];
    if (kTraining) value -= constant * first[part_stride] + slope * first[2 * part_stride];
    return scale * value;
  }
};

// totals -> gradients of all weights, and what the boxes' gradients need of the batch norm: factors (3, K).
template <typename T>
struct WeightGradients {
  T *conv1_weight, *conv1_bias, *bn_weight, *bn_bias, *conv2_weight, *conv2_bias;
};

constexpr int kFinishBlock = 64;

template <typename T, bool kTraining>
HMEG_KERNEL refine_masks_finish(MaskParameters<T> given, const T* mean, const T* var, const Accumulator<T>* totals,
                                Accumulator<T>* factors, WeightGradients<T> grads, int64_t numbers) {
  using A = Accumulator<T>;
  const int64_t channels = given.channels, channel = block_index() * kFinishBlock + thread_index();
  const A* const shares = totals + kQuantities<kTraining> * 5 * channels;
  if (channel == 0) grads.conv2_bias[0] = narrow<T>(shares[kTaps / 2]);
  if (channel >= channels) return;
  const A reciprocal = A(1) / square_root(A(widen(var[channel])) + given.eps), centre = widen(mean[channel]);
  const A scale = A(widen(given.bn_weight[channel])) * reciprocal;
  const A shift = A(widen(given.bn_bias[channel])) - centre * scale;
  A by_shift = 0, by_value = 0;  // sums over all pixels of dy and of r dy
  HMEG_UNROLL
  for (int tap = 0; tap < kTaps; ++tap) {
    const A product = totals[tap * 5 * channels + channel], weight = widen(given.conv2_weight[channel * kTaps + tap]);
    by_shift += weight * shares[tap];
    by_value += weight * product;
    grads.conv2_weight[channel * kTaps + tap] = narrow<T>(scale * product + shift * shares[tap]);
  }
  const A by_weight = reciprocal * (by_value - centre * by_shift);
  grads.bn_weight[channel] = narrow<T>(by_weight);
  grads.bn_bias[channel] = narrow<T>(by_shift);
  const A share = kTraining && numbers > 0 ? A(1) / A(numbers) : A(0), slope = reciprocal * by_weight * share;
  const NormFactors<A> norm{scale, by_shift * share - centre * slope, slope};
  factors[channel] = norm.scale;
  factors[channels + channel] = norm.constant;
  factors[2 * channels + channel] = norm.slope;

  // Sums of dz by class: alone, times X, times Y, times the box's numbers.
  const auto total = [&](int moment, int by) {
    return norm.template combine<kTraining>(totals + ((kTaps + moment) * 5 + by) * channels + channel,
                                            kMoments * 5 * channels);
  };
  const A across_step = grid_step<A>(given.width), down_step = grid_step<A>(given.height);
  A bias = 0, weights[4][kTaps] = {};
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column) {
      const int moment = first_moment(row) + column, cls = 3 * row + column;
      const A sum = total(moment, 0);
      const A by_x = column == 1 ? total(first_moment(row) + 3, 0) : column == 2 ? sum : A(0);
      const A by_y = row == 1 ? total(first_moment(row) + 4 + column, 0) : row == 2 ? sum : A(0);
      A by_box[4];
      HMEG_UNROLL
      for (int side = 0; side < 4; ++side) by_box[side] = total(moment, 1 + side);
      bias += sum;
      HMEG_UNROLL
      for (int tap = 0; tap < kTaps; ++tap) {
        const int down = tap / 3 - 1, across = tap % 3 - 1;
        if (!has_neighbour(cls, down, across, given.height, given.width)) continue;
        const A ramp_x = A(2) * by_x + (A(2 * across) * across_step - A(1)) * sum;
        const A ramp_y = A(2) * by_y + (A(2 * down) * down_step - A(1)) * sum;
        weights[0][tap] += ramp_x - A(2) * by_box[0];
        weights[1][tap] += ramp_y - A(2) * by_box[1];
        weights[2][tap] += ramp_x - A(2) * by_box[2];
        weights[3][tap] += ramp_y - A(2) * by_box[3];
      }
    }
  }
  grads.conv1_bias[channel] = narrow<T>(bias);
  HMEG_UNROLL
  for (int side = 0; side < 4; ++side) {
    HMEG_UNROLL
    for (int tap = 0; tap < kTaps; ++tap) {
      grads.conv1_weight[(channel * 4 + side) * kTaps + tap] = narrow<T>(weights[side][tap]);
    }
  }
}

// grad_boxes (V, 4), a warp for each symbol.
constexpr int kBoxBlock = 128;

template <typename T, bool kTraining>
HMEG_KERNEL refine_masks_boxes(const Accumulator<T>* moments, const Accumulator<T>* table,
                               const Accumulator<T>* factors, T* grad_boxes, GradTiles tiles) {
  using A = Accumulator<T>;
  const int64_t symbol = block_index() * (kBoxBlock / 32) + thread_index() / 32, channels = tiles.channels;
  if (symbol >= tiles.symbols) return;  // the whole warp, and no barrier follows
  A sums[4] = {};
  for (int64_t channel = thread_index() % 32; channel < channels; channel += 32) {
    const NormFactors<A> norm{factors[channel], factors[channels + channel], factors[2 * channels + channel]};
    for (int cls = 0; cls < kClasses; ++cls) {
      A sum = 0;
      for (int64_t tile = 0; tile < tiles.tiles; ++tile) {
        const A* const record = moments + (symbol * tiles.tiles + tile) * kQuantities<kTraining> * channels;
        sum += norm.template combine<kTraining>(record + (kTaps + first_moment(cls / 3) + cls % 3) * channels + channel,
                                                kMoments * channels);
      }
      HMEG_UNROLL
      for (int side = 0; side < 4; ++side) {
        sums[side] += sum * table[(int64_t(cls) * kPlaneNumbers + 3 + side) * channels + channel];
      }
    }
  }
  HMEG_UNROLL
  for (int side = 0; side < 4; ++side) {
    const A sum = warp_sum(sums[side]);
    if (thread_index() % 32 == 0) grad_boxes[4 * symbol + side] = narrow<T>(A(-2) * sum);
  }
}

template <typename A>
GradTiles grad_tiles(int64_t symbols, int64_t channels, int64_t height, int64_t width) {
  GradTiles tiles{symbols,
                  channels,
                  height,
                  width,
                  kTileRows<A>,
                  0,
                  (width + kTileColumns - 1) / kTileColumns,
                  (channels + kChannels - 1) / kChannels,
                  0};
  // Fewer rows a tile where there would be too few blocks.
  while (tiles.rows > 8 && symbols * tiles.column_tiles * ((height + tiles.rows - 1) / tiles.rows) < kFewBlocks) {
    tiles.rows /= 2;
  }
  tiles.row_tiles = (height + tiles.rows - 1) / tiles.rows;
  tiles.tiles = tiles.row_tiles * tiles.column_tiles;
  return tiles;
}

// How the backward pass divides its workspace.
template <typename A>
struct BackwardWorkspace {
  PreparedWeights<A> weights;
  A *totals, *factors, *grad_sums, *moments;
  int64_t size;

  BackwardWorkspace(A* workspace, const GradTiles& tiles, bool training) : weights(workspace, tiles.channels) {
    const int64_t units = tiles.symbols * tiles.tiles, prepared = PreparedWeights<A>::size(tiles.channels);
    const int64_t all = (training ? kQuantities<true> : kQuantities<false>)*5 * tiles.channels + kTaps;
    totals = workspace + prepared;
    factors = totals + all;
    grad_sums = factors + 3 * tiles.channels;
    moments = grad_sums + units * kTaps;
    size = prepared + all + 3 * tiles.channels +
           units * (kTaps + (training ? kQuantities<true> : kQuantities<false>)*tiles.channels);
  }
};

template <typename T, bool kTraining>
const char* backward(const MaskParameters<T>& given, const T* grad_masks, const T* masks, const T* boxes, const T* mean,
                     const T* var, T* grad_boxes, const WeightGradients<T>& grads, const GradTiles& tiles,
                     void* workspace, void* stream) {
  using A = Accumulator<T>;
  const BackwardWorkspace<A> space(static_cast<A*>(workspace), tiles, kTraining);
  const int64_t units = tiles.symbols * tiles.tiles, count = kQuantities<kTraining>;
  const A* const table = space.weights.table;
  const char* error =
      launch<kBlock>(prepare_weights<T, T, kBlock>, 1, stream, given, mean, var, space.weights, true, false);
  if (error) return error;
  error = launch<kBlock>(refine_masks_moments<T, kTraining>, units * tiles.channel_blocks, stream, grad_masks, masks,
                         boxes, given.conv2_weight, table, space.moments, space.grad_sums, tiles);
  if (error) return error;
  const int64_t channel_blocks = (tiles.channels + 31) / 32;
  error = launch<kSumBlock>(refine_masks_sum<T>, count * channel_blocks + 1, stream, boxes,
                            static_cast<const A*>(space.moments), static_cast<const A*>(space.grad_sums), space.totals,
                            units, tiles.tiles, count, tiles.channels, channel_blocks);
  if (error) return error;
  error = launch<kFinishBlock>(refine_masks_finish<T, kTraining>, (tiles.channels + kFinishBlock - 1) / kFinishBlock,
                               stream, given, mean, var, static_cast<const A*>(space.totals), space.factors, grads,
                               tiles.symbols * tiles.height * tiles.width);
  if (error) return error;
  return launch<kBoxBlock>(refine_masks_boxes<T, kTraining>, (tiles.symbols + kBoxBlock / 32 - 1) / (kBoxBlock / 32),
                           stream, static_cast<const A*>(space.moments), table, static_cast<const A*>(space.factors),
                           grad_boxes, tiles);
}

template <typename A>
int64_t workspace_bytes(const RefineMasksBackward& given) {
  const GradTiles tiles = grad_tiles<A>(given.symbols, given.channels, given.height, given.width);
  return BackwardWorkspace<A>(nullptr, tiles, given.training != 0).size * int64_t(sizeof(A));
}

int64_t workspace(const RefineMasksBackward& given, const Call& call) {
  return call.dtype == kFloat64 ? workspace_bytes<double>(given) : workspace_bytes<float>(given);
}

const char* run_backward(const RefineMasksBackward& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) -> const char* {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const auto in = [](const void* from) { return static_cast<const T*>(from); };
    const auto out = [](void* to) { return static_cast<T*>(to); };
    const MaskParameters<T> parameters{in(given.conv1_weight),   in(given.conv1_bias),   in(given.bn_weight),
                                       in(given.bn_bias),        in(given.conv2_weight), in(given.conv2_bias),
                                       given.channels,           given.height,           given.width,
                                       static_cast<A>(given.eps)};
    const WeightGradients<T> grads{out(given.grad_conv1_weight), out(given.grad_conv1_bias),
                                   out(given.grad_bn_weight),    out(given.grad_bn_bias),
                                   out(given.grad_conv2_weight), out(given.grad_conv2_bias)};
    const auto run = given.training ? backward<T, true> : backward<T, false>;
    return run(parameters, in(given.grad_masks), in(given.masks), in(given.boxes), in(given.mean), in(given.var),
               out(given.grad_boxes), grads, grad_tiles<A>(given.symbols, given.channels, given.height, given.width),
               call.workspace, call.stream);
  });
}

HMEG_ENTRY(kCuda, refine_masks_backward, run_backward, workspace);

}  // namespace
}  // namespace hmeg
