// refine_masks: boxes (V, 4) -> masks (V, H, W). No (V, K, H, W) tensor exists: a pixel's K hidden values are planes
// (ramp_convolution.h) and are made again wherever they are needed.
//
// Masks: a unit is a band of rows of one symbol. Eight lanes and more walk down a unit's rows, a thread holding eight
// neighbouring pixels and, for each, the sums over channels that the nine taps of the second convolution take of it.
// A row's sums are handed to the neighbours left and right by shuffles and to the rows above and below in registers.
// The four warps of a block do this for a quarter of the channels each and add up in shared memory.
// Statistics: along a row a plane is positive on an interval, so sums over it have closed forms; means and squared
// deviations are merged (Chan's formula), so that float32 keeps the variance's digits.
#include "refine_masks.h"

#include "device.h"
#include "dtypes.h"
#include "entry.h"
#include "mask_weights.h"
#include "ramp_convolution.h"

namespace hmeg {
namespace {

// --- Masks -----------------------------------------------------------------------------------------------------------

constexpr int kMaskBlock = 128, kMaskWarps = kMaskBlock / 32, kRun = 8, kUnits = 4;

// Channels of one launch; more of them take several, which carry the logits on.
template <typename A>
constexpr int kMaskChannels = sizeof(A) == 8 ? 32 : 64;

struct MaskTiles {
  int64_t symbols, height, width;
  int64_t bands, column_tiles, band_rows;
  int lanes;      // lanes of a unit: it is kRun * lanes pixels wide
  int64_t units;  // of all symbols

  int64_t blocks() const { return (units * lanes + 31) / 32; }
};

template <typename A>
struct Logits {
  const A* from;  // sums of the channels before, or null
  A* to;          // where sums go when more channels follow, or null
};

// Rows of these in shared memory, padded against bank conflicts.
template <typename A>
constexpr int kSlopes = 2 * kMaskChannels<A> + 2;
template <typename A>
constexpr int kOffsets = kClasses * kMaskChannels<A> + 8;

// A block's units, of all.
struct Units {
  int64_t first, all, of_symbol;
};

// Planes and taps of `count` channels to shared memory: slopes (kClasses, kSlopes) are every symbol's, offsets
// (kUnits, kOffsets) a unit's own.
template <typename T, typename Slopes, typename Offsets, typename Taps>
HMEG_DEVICE void stage_channels(Slopes& slopes, Offsets& offsets, Taps& taps, const T* boxes,
                                const PreparedWeights<Accumulator<T>>& weights, const Units& units, int here,
                                int64_t first_channel, int64_t channels, int count) {
  using A = Accumulator<T>;
  for (int item = thread_index(); item < here * kClasses * count; item += kMaskBlock) {
    const int unit = item / (kClasses * count), cls = item / count % kClasses, channel = item % count;
    if (units.first + unit >= units.all) continue;
    const T* const corner = boxes + (units.first + unit) / units.of_symbol * 4;
    const A box[4] = {widen(corner[0]), widen(corner[1]), widen(corner[2]), widen(corner[3])};
    const Plane<A> plane = plane_of(weights.table, cls, first_channel + channel, channels, box);
    offsets[unit * kOffsets<A> + cls * kMaskChannels<A> + channel] = plane.d;
    if (unit == 0) {
      slopes[cls * kSlopes<A> + 2 * channel] = plane.a;
      slopes[cls * kSlopes<A> + 2 * channel + 1] = plane.c;
    }
  }
  for (int item = thread_index(); item < count * kFoldedTaps; item += kMaskBlock) {
    taps[item] = weights.folded[first_channel * kFoldedTaps + item];
  }
}

// Where a thread's run of pixels lies. Their X are kept apart: in a structure they would leave the registers.
template <typename A>
struct Run {
  int64_t column;  // of the first
  int last;        // place of the image's last column, kRun where that is not among them
  int first_class, last_class;

  HMEG_DEVICE Run(int64_t column, int64_t width) : column(column) {
    last = static_cast<int>(width > 1 && width - 1 - column < kRun ? width - 1 - column : kRun);
    first_class = column == 0 ? 0 : 1, last_class = last < kRun ? 2 : 1;
  }
};

// sums (kTaps, kRun) of one row: what every tap takes of the run's pixels, over this warp's share of the channels.
template <bool kWholeRuns, typename A, typename Slopes, typename Offsets, typename Taps>
HMEG_DEVICE void sum_channels(A (&sums)[kTaps][kRun], const Slopes& slopes, const Offsets& offsets, const Taps& taps,
                              const A (&x)[kRun], const Run<A>& run, A y, int row_class, int unit, int count,
                              int64_t width) {
  const int left = row_class + run.first_class, middle = row_class + 1, right = row_class + run.last_class;
  for (int channel = thread_index() / 32; channel < count; channel += kMaskWarps) {
    const auto slope = load_shared<2>(slopes, middle * kSlopes<A> + 2 * channel);
    const A e = slope.items[1] * y + offsets[unit * kOffsets<A> + middle * kMaskChannels<A> + channel];
    A z[kRun];
    HMEG_UNROLL
    for (int q = 0; q < kRun; ++q) z[q] = slope.items[0] * x[q] + e;
    const auto left_slope = load_shared<2>(slopes, left * kSlopes<A> + 2 * channel);
    z[0] = left_slope.items[0] * x[0] +
           (left_slope.items[1] * y + offsets[unit * kOffsets<A> + left * kMaskChannels<A> + channel]);
    const auto right_slope = load_shared<2>(slopes, right * kSlopes<A> + 2 * channel);
    const A right_e = right_slope.items[1] * y + offsets[unit * kOffsets<A> + right * kMaskChannels<A> + channel];
    if (kWholeRuns) {
      z[kRun - 1] = right_slope.items[0] * x[kRun - 1] + right_e;
    } else {
      HMEG_UNROLL
      for (int q = 0; q < kRun; ++q) {
        if (q == run.last) z[q] = right_slope.items[0] * x[q] + right_e;
      }
    }
    A weight[kFoldedTaps];
    HMEG_UNROLL
    for (int tap = 0; tap < kFoldedTaps; tap += 16 / sizeof(A)) {
      const auto pack = load_shared<16 / sizeof(A)>(taps, channel * kFoldedTaps + tap);
      HMEG_UNROLL
      for (int k = 0; k < int(16 / sizeof(A)); ++k) weight[tap + k] = pack.items[k];
    }
    HMEG_UNROLL
    for (int q = 0; q < kRun; ++q) {
      const A value = positive_part(z[q]);
      HMEG_UNROLL
      for (int tap = 0; tap < kTaps; ++tap) sums[tap][q] += weight[tap] * value;
    }
  }
  if (!kWholeRuns) {
    HMEG_UNROLL
    for (int q = 0; q < kRun; ++q) {
      HMEG_UNROLL
      for (int tap = 0; tap < kTaps; ++tap) sums[tap][q] = run.column + q < width ? sums[tap][q] : A(0);
    }
  }
}

// What a row's pixels give, neighbours left and right included, to the rows below (0), at (1) and above it (2). All
// lanes take part; `place` is the lane's among the `lanes` of its unit.
template <typename A>
HMEG_DEVICE void spread_row(A (&spread)[3][kRun], const A (&sums)[kTaps][kRun], int place, int lanes) {
  HMEG_UNROLL
  for (int d = 0; d < 3; ++d) {
    const A from_left = shuffle_up(sums[3 * d][kRun - 1], 1), from_right = shuffle_down(sums[3 * d + 2][0], 1);
    HMEG_UNROLL
    for (int q = 0; q < kRun; ++q) {
      const A before = q > 0 ? sums[3 * d][q > 0 ? q - 1 : 0] : place > 0 ? from_left : A(0);
      const A after = q < kRun - 1 ? sums[3 * d + 2][q < kRun - 1 ? q + 1 : 0] : place < lanes - 1 ? from_right : A(0);
      spread[d][q] = before + sums[3 * d + 1][q] + after;
    }
  }
}

// Adds the warps' shares of a row, the `row`th of every unit's band, and stores the masks, or the logits where more
// channels follow.
template <typename T, typename Partial>
HMEG_DEVICE void store_row(const Partial& partial, int half, const MaskTiles& tiles, const Units& units, int64_t row,
                           const PreparedWeights<Accumulator<T>>& weights, T* masks,
                           const Logits<Accumulator<T>>& logits) {
  using A = Accumulator<T>;
  HMEG_UNROLL
  for (int part = 0; part < 32 * kRun / kMaskBlock; ++part) {
    const int number = part * kMaskBlock + thread_index(), owner = number / kRun, q = number % kRun;
    const int64_t of_unit = units.first + owner / tiles.lanes;
    if (of_unit >= units.all) continue;
    const int64_t symbol = of_unit / units.of_symbol, tile = of_unit % units.of_symbol;
    const int64_t i = tile / tiles.column_tiles * tiles.band_rows + row;
    const int offset = owner % tiles.lanes * kRun + q;
    const bool split = tiles.column_tiles > 1;
    const int64_t j = offset + (split ? tile % tiles.column_tiles * (kRun * (tiles.lanes - 2)) - kRun : 0);
    if (i >= tiles.height || j < 0 || j >= tiles.width) continue;
    if (split && (offset < kRun || offset >= kRun * (tiles.lanes - 1))) continue;
    A logit = 0;
    HMEG_UNROLL
    for (int w = 0; w < kMaskWarps; ++w) logit += partial[((half + w) * kRun + q) * 32 + owner];
    const int64_t pixel = (symbol * tiles.height + i) * tiles.width + j;
    if (logits.from != nullptr) logit += logits.from[pixel];
    if (logits.to != nullptr) {
      logits.to[pixel] = logit;
      continue;
    }
    logit += weights.constants[3 * class_along(i, tiles.height) + class_along(j, tiles.width)];
    masks[pixel] = narrow<T>(A(1) / (A(1) + exponential(-logit)));
  }
}

template <typename T, bool kWholeRuns>
HMEG_KERNEL_FITTED(kMaskBlock, sizeof(T) == 8 ? 2 : 4)
refine_masks_forward(const T* boxes, PreparedWeights<Accumulator<T>> weights, T* masks, MaskTiles tiles,
                     int64_t first_channel, int64_t channels, Logits<Accumulator<T>> logits) {
  using A = Accumulator<T>;
  constexpr int kChannels = kMaskChannels<A>;
  HMEG_SHARED(A, slopes, kClasses * kSlopes<A>);
  HMEG_SHARED(A, offsets, kUnits * kOffsets<A>);
  HMEG_SHARED(A, taps, kChannels * kFoldedTaps);
  HMEG_SHARED(A, partial, 2 * kMaskWarps * 32 * kRun);
  const int lane = thread_index() % 32, warp = thread_index() / 32, here = 32 / tiles.lanes;
  const Units units{block_index() * here, tiles.units, tiles.bands * tiles.column_tiles};
  const int count = static_cast<int>(channels - first_channel < kChannels ? channels - first_channel : kChannels);
  stage_channels(slopes, offsets, taps, boxes, weights, units, here, first_channel, channels, count);
  sync_block();

  const int unit = lane / tiles.lanes, place = lane % tiles.lanes;
  const bool present = units.first + unit < units.all;
  const int64_t in_symbol = (units.first + unit) % units.of_symbol;
  const int64_t first_row = in_symbol / tiles.column_tiles * tiles.band_rows;
  // Tiles of more than one overlap by a run on each side.
  const int64_t first_column =
      tiles.column_tiles == 1 ? 0 : in_symbol % tiles.column_tiles * (kRun * (tiles.lanes - 2)) - kRun;
  const Run<A> run(first_column + place * kRun, tiles.width);
  const A down = grid_step<A>(tiles.height), across = grid_step<A>(tiles.width);
  A x[kRun];
  HMEG_UNROLL
  for (int q = 0; q < kRun; ++q) x[q] = grid_point(run.column + q, tiles.width, across);
  const bool columns = present && run.column >= 0 && run.column < tiles.width;

  A waiting[2][kRun] = {};  // rows above and at the current one, as far as they are summed
  for (int64_t step = 0; step < tiles.band_rows + 2; ++step) {
    const int64_t row = first_row - 1 + step;
    A sums[kTaps][kRun] = {};
    if (columns && row >= 0 && row < tiles.height) {
      sum_channels<kWholeRuns>(sums, slopes, offsets, taps, x, run, grid_point(row, tiles.height, down),
                               3 * class_along(row, tiles.height), unit, count, tiles.width);
    }
    A spread[3][kRun];
    spread_row(spread, sums, place, tiles.lanes);
    const int half = static_cast<int>(step % 2) * kMaskWarps;
    HMEG_UNROLL
    for (int q = 0; q < kRun; ++q) {
      partial[((half + warp) * kRun + q) * 32 + lane] = waiting[0][q] + spread[2][q];
      waiting[0][q] = waiting[1][q] + spread[1][q];
      waiting[1][q] = spread[0][q];
    }
    if (step < 2) continue;
    sync_block();  // two halves take turns: nobody writes here again before the next barrier
    store_row(partial, half, tiles, units, step - 2, weights, masks, logits);
  }
}

// Bands that keep the multiprocessors evenly busy: each band makes two rows more than it keeps.
MaskTiles mask_tiles(int64_t symbols, int64_t height, int64_t width) {
  MaskTiles best{symbols, height, width, 1, 1, height, 32 / kUnits, 0};
  while (best.lanes < 32 && kRun * best.lanes < width) best.lanes *= 2;
  if (kRun * best.lanes < width) {
    const int64_t kept = kRun * (best.lanes - 2);
    best.column_tiles = (width + kept - 1) / kept;
  }
  best.units = symbols * best.column_tiles;
  const auto cost = [](const MaskTiles& tiles) {
    const int64_t turns = (2 * tiles.blocks() + kFewBlocks - 1) / kFewBlocks;  // blocks of one multiprocessor
    return turns * (tiles.bands == 1 ? tiles.height : tiles.band_rows + 2);
  };
  for (MaskTiles tiles = best; tiles.band_rows > 1;) {
    tiles.band_rows = (tiles.band_rows + 1) / 2;
    tiles.bands = (height + tiles.band_rows - 1) / tiles.band_rows;
    tiles.units = symbols * tiles.bands * tiles.column_tiles;
    if (cost(tiles) < cost(best)) best = tiles;
  }
  return best;
}

// --- Statistics ------------------------------------------------------------------------------------------------------

constexpr int kStatisticsBlock = 256, kStatisticsChannels = 64, kGroups = kStatisticsBlock / kStatisticsChannels;

// Mean and sum of squared deviations of `count` equal portions of numbers; a portion is a row.
template <typename A>
struct Moments {
  A count = A(0), mean = A(0), deviation = A(0);

  HMEG_DEVICE void merge(const Moments& other, A row_size) {
    if (other.count == A(0)) return;
    const A both = count + other.count, share = other.count / both, shift = other.mean - mean;
    deviation += other.deviation + shift * shift * count * share * row_size;
    mean += shift * share;
    count = both;
  }
};

// A block's symbols -> (blocks, 3, K): rows, mean and squared deviation of every channel's hidden values.
template <typename T>
HMEG_KERNEL refine_masks_statistics(const T* boxes, const Accumulator<T>* table, Accumulator<T>* partial,
                                    int64_t symbols, int64_t symbols_of_block, int64_t channel_blocks, int64_t channels,
                                    int64_t height, int64_t width) {
  using A = Accumulator<T>;
  HMEG_SHARED(A, staged, 3 * kStatisticsBlock);
  const int64_t block = block_index() / channel_blocks;
  const int64_t channel = block_index() % channel_blocks * kStatisticsChannels + thread_index() % kStatisticsChannels;
  const int group = thread_index() / kStatisticsChannels;
  const A across = grid_step<A>(width), down = grid_step<A>(height), row_size = A(width), share = A(1) / row_size;
  const int between = static_cast<int>(width > 2 ? width - 2 : 0);
  Moments<A> moments;
  for (int64_t symbol = block * symbols_of_block; symbol < symbols && symbol < (block + 1) * symbols_of_block;
       ++symbol) {
    if (channel >= channels) continue;
    const A box[4] = {widen(boxes[4 * symbol]), widen(boxes[4 * symbol + 1]), widen(boxes[4 * symbol + 2]),
                      widen(boxes[4 * symbol + 3])};
    for (int row_class = 0; row_class < 3; ++row_class) {
      const Plane<A> left = plane_of(table, 3 * row_class, channel, channels, box);
      const Plane<A> middle = plane_of(table, 3 * row_class + 1, channel, channels, box);
      const Plane<A> right = plane_of(table, 3 * row_class + 2, channel, channels, box);
      const A step = middle.a * across, reciprocal_step = A(1) / step;
      const int64_t begin = row_class == 0 ? 0 : row_class == 1 ? 1 : height > 1 ? height - 1 : height;
      const int64_t end = row_class == 0 ? 1 : row_class == 1 ? height - 1 : height;
      // A row of every group in turn, whatever the class.
      for (int64_t row = begin + (group - begin % kGroups + kGroups) % kGroups; row < end; row += kGroups) {
        const A y = grid_point(row, height, down);
        const A first = positive_part(left.c * y + left.d);
        const A last = width > 1 ? positive_part(right.a + (right.c * y + right.d)) : A(0);
        const A start = step + (middle.c * y + middle.d);
        const Interval active = positive_interval(start, step, reciprocal_step, between);
        const A number = A(active.end - active.begin);
        const A centre = start + step * (A(active.begin + active.end - 1) / A(2));
        Moments<A> line;
        line.count = A(1);
        line.mean = (first + last + (active.end > active.begin ? number * centre : A(0))) * share;
        const A from_first = first - line.mean, from_last = last - line.mean, from_centre = centre - line.mean;
        line.deviation = from_first * from_first + (width > 1 ? from_last * from_last : A(0)) +
                         (A(between) - number) * line.mean * line.mean;
        if (active.end > active.begin) {
          line.deviation +=
              number * (from_centre * from_centre + step * step * ((number * number - A(1)) * A(1.0 / 12.0)));
        }
        moments.merge(line, row_size);
      }
    }
  }
  staged[thread_index()] = moments.count;
  staged[kStatisticsBlock + thread_index()] = moments.mean;
  staged[2 * kStatisticsBlock + thread_index()] = moments.deviation;
  sync_block();
  if (group > 0 || channel >= channels) return;
  for (int other = 1; other < kGroups; ++other) {
    const int from = other * kStatisticsChannels + thread_index();
    Moments<A> next;
    next.count = staged[from];
    next.mean = staged[kStatisticsBlock + from];
    next.deviation = staged[2 * kStatisticsBlock + from];
    moments.merge(next, row_size);
  }
  A* const to = partial + block * 3 * channels + channel;
  to[0] = moments.count;
  to[channels] = moments.mean;
  to[2 * channels] = moments.deviation;
}

// Merges the blocks of a channel; a block of this kernel for each channel.
template <typename T>
HMEG_KERNEL refine_masks_merge(const Accumulator<T>* partial, Accumulator<T>* statistics, T* mean, T* var,
                               int64_t blocks, int64_t channels, int64_t width) {
  using A = Accumulator<T>;
  HMEG_SHARED(A, staged, 3 * kStatisticsBlock);
  const int64_t channel = block_index();
  const int me = thread_index();
  Moments<A> moments;
  for (int64_t block = me; block < blocks; block += kStatisticsBlock) {
    const A* const from = partial + block * 3 * channels + channel;
    Moments<A> next;
    next.count = from[0], next.mean = from[channels], next.deviation = from[2 * channels];
    moments.merge(next, A(width));
  }
  for (int distance = kStatisticsBlock / 2; distance > 0; distance /= 2) {
    staged[me] = moments.count;
    staged[kStatisticsBlock + me] = moments.mean;
    staged[2 * kStatisticsBlock + me] = moments.deviation;
    sync_block();
    if (me < distance) {
      Moments<A> next;
      next.count = staged[me + distance];
      next.mean = staged[kStatisticsBlock + me + distance];
      next.deviation = staged[2 * kStatisticsBlock + me + distance];
      moments.merge(next, A(width));
    }
    sync_block();
  }
  if (me > 0) return;
  const A numbers = moments.count * A(width), variance = numbers > A(0) ? moments.deviation / numbers : A(0);
  statistics[channel] = moments.mean;
  statistics[channels + channel] = variance;
  mean[channel] = narrow<T>(moments.mean);
  var[channel] = narrow<T>(variance);
}

constexpr int64_t kStatisticsBlocks = 4 * kFewBlocks;

// How refine_masks' forward pass divides its workspace.
template <typename A>
struct ForwardWorkspace {
  PreparedWeights<A> weights;
  A* statistics;  // (2, K)
  A* partial;     // (blocks, 3, K)
  A* logits;      // (V, H, W), where channels take more than one launch
  int64_t symbols_of_block, blocks, size;

  ForwardWorkspace(A* workspace, int64_t symbols, int64_t channels, int64_t pixels, bool training)
      : weights(workspace, channels) {
    symbols_of_block = (symbols + kStatisticsBlocks - 1) / kStatisticsBlocks;
    if (symbols_of_block < 1) symbols_of_block = 1;
    blocks = training ? (symbols + symbols_of_block - 1) / symbols_of_block : 0;
    const int64_t prepared = PreparedWeights<A>::size(channels), sums = blocks * 3 * channels;
    statistics = workspace + prepared;
    partial = statistics + 2 * channels;
    logits = partial + sums;
    size = prepared + 2 * channels + sums + (channels > kMaskChannels<A> ? symbols * pixels : 0);
  }
};

int64_t workspace(const RefineMasksForward& given, const Call& call) {
  const int64_t pixels = given.height * given.width;
  const bool training = given.training != 0;
  return call.dtype == kFloat64
             ? ForwardWorkspace<double>(nullptr, given.symbols, given.channels, pixels, training).size * 8
             : ForwardWorkspace<float>(nullptr, given.symbols, given.channels, pixels, training).size * 4;
}

const char* run_forward(const RefineMasksForward& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) -> const char* {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const ForwardWorkspace<A> space(static_cast<A*>(call.workspace), given.symbols, given.channels,
                                    given.height * given.width, given.training != 0);
    const auto as = [](const void* from) { return static_cast<const T*>(from); };
    const MaskParameters<T> parameters{as(given.conv1_weight),   as(given.conv1_bias),   as(given.bn_weight),
                                       as(given.bn_bias),        as(given.conv2_weight), as(given.conv2_bias),
                                       given.channels,           given.height,           given.width,
                                       static_cast<A>(given.eps)};
    const char* error = nullptr;
    if (given.training) {
      const int64_t channel_blocks = (given.channels + kStatisticsChannels - 1) / kStatisticsChannels;
      error = launch<256>(prepare_weights<T, T, 256>, 1, call.stream, parameters, static_cast<const T*>(nullptr),
                          static_cast<const T*>(nullptr), space.weights, true, false);
      if (error) return error;
      error = launch<kStatisticsBlock>(refine_masks_statistics<T>, space.blocks * channel_blocks, call.stream,
                                       as(given.boxes), static_cast<const A*>(space.weights.table), space.partial,
                                       given.symbols, space.symbols_of_block, channel_blocks, given.channels,
                                       given.height, given.width);
      if (error) return error;
      error = launch<kStatisticsBlock>(
          refine_masks_merge<T>, given.channels, call.stream, static_cast<const A*>(space.partial), space.statistics,
          static_cast<T*>(given.mean), static_cast<T*>(given.var), space.blocks, given.channels, given.width);
      if (error) return error;
      error =
          launch<256>(prepare_weights<T, A, 256>, 1, call.stream, parameters, static_cast<const A*>(space.statistics),
                      static_cast<const A*>(space.statistics + given.channels), space.weights, false, true);
    } else {
      error = launch<256>(prepare_weights<T, T, 256>, 1, call.stream, parameters, static_cast<const T*>(given.mean),
                          static_cast<const T*>(given.var), space.weights, true, true);
    }
    const MaskTiles tiles = mask_tiles(given.symbols, given.height, given.width);
    const auto kernel = given.width % kRun == 0 ? refine_masks_forward<T, true> : refine_masks_forward<T, false>;
    for (int64_t first = 0; first < given.channels || first == 0; first += kMaskChannels<A>) {
      const bool begins = first == 0, ends = first + kMaskChannels<A> >= given.channels;
      const Logits<A> logits{begins ? nullptr : space.logits, ends ? nullptr : space.logits};
      if (error == nullptr) {
        error = launch<kMaskBlock>(kernel, tiles.blocks(), call.stream, as(given.boxes), space.weights,
                                   static_cast<T*>(given.masks), tiles, first, given.channels, logits);
      }
    }
    return error;
  });
}

HMEG_ENTRY(kCuda, refine_masks_forward, run_forward, workspace);

}  // namespace
}  // namespace hmeg
