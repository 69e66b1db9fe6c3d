// crop_boxes: images (N, C, H, W) and boxes (V, 4) -> crops (V, C, h, w), and the gradients of both.
//
// Forward: a thread has a pack of neighbouring samples of one crop row and gathers their four taps, channel by channel.
// Gradient of the boxes: a block for each symbol, which adds up over samples and channels.
// Gradient of the images: every pixel has one owner, which goes through its image's boxes in order and gathers the
// samples that touch it. Which those are follows from a sample's position, which grows evenly along an axis: a range of
// candidates that is a little too large, of which each has its position computed as in the forward pass. A first kernel
// lists every image's boxes, as `batch` is in no order.
#include "crop_boxes.h"

#include "device.h"
#include "dtypes.h"
#include "entry.h"
#include "grid_points.h"

namespace hmeg {
namespace {

constexpr int kBlock = 256;

template <typename T>
constexpr int kWidePack = sizeof(T) == 8 ? 2 : 4;

struct CropSizes {
  int64_t symbols, graphs, channels, height, width, crop_height, crop_width;
};

// Where a sample reads along one axis: a share 1 - fraction of pixel index, fraction of the next; both may lie outside.
template <typename A>
struct Tap {
  int64_t index;
  A fraction;

  // Of this tap's reading, the share of the pixel.
  HMEG_DEVICE A share_of(int64_t pixel) const {
    return index == pixel ? A(1) - fraction : index + 1 == pixel ? fraction : A(0);
  }
};

// The samples of a crop along one axis.
template <typename A>
struct Axis {
  A low, high, step;    // the box's ends in [-1, 1]
  int64_t count, size;  // samples; pixels

  HMEG_DEVICE Axis(A low_end, A high_end, int64_t count, int64_t size)
      : low(A(2) * low_end - A(1)), high(A(2) * high_end - A(1)), step(grid_step<A>(count)), count(count), size(size) {}

  // From 0 at the first sample to 1 at the last.
  HMEG_DEVICE A along(int64_t sample) const { return grid_point(sample, count, step); }

  // In pixels: 0 is the centre of the first one.
  HMEG_DEVICE A position(int64_t sample) const {
    const A t = along(sample);
    return ((low * (A(1) - t) + high * t + A(1)) * A(size) - A(1)) / A(2);
  }

  HMEG_DEVICE Tap<A> tap(int64_t sample) const {
    const A at = position(sample);
    if (!(at > A(-1) && at < A(size))) return {-2, at - at};  // touches no pixel; NaN for NaN
    const A whole = round_down(at);
    return {static_cast<int64_t>(whole), at - whole};
  }

  // Samples among which are all that touch pixels first to last.
  HMEG_DEVICE void touching(int64_t first, int64_t last, int64_t& begin, int64_t& end) const {
    const A from = position(0), to = position(count - 1), slope = (to - from) * step;
    // Farther than any rounding of a position.
    const A slack =
        A(sizeof(A) == 8 ? 1e-14 : 4e-6) * ((from < A(0) ? -from : from) + (to < A(0) ? -to : to) + A(size));
    begin = 0, end = count;
    if (slope == A(0)) return;
    const A below = (A(first) - A(1) - slack - from) / slope, above = (A(last) + A(1) + slack - from) / slope;
    const A least = slope > A(0) ? below : above, most = slope > A(0) ? above : below;
    if (least >= A(1)) begin = least < A(count) ? static_cast<int64_t>(least) : count;
    if (most < A(count - 1)) end = most < A(0) ? 0 : static_cast<int64_t>(most) + 2;
    if (end > count) end = count;
  }
};

template <typename T>
HMEG_DEVICE Axis<Accumulator<T>> across(const T* box, const CropSizes& sizes) {
  return {widen(box[0]), widen(box[2]), sizes.crop_width, sizes.width};
}
template <typename T>
HMEG_DEVICE Axis<Accumulator<T>> down(const T* box, const CropSizes& sizes) {
  return {widen(box[1]), widen(box[3]), sizes.crop_height, sizes.height};
}

// The four pixels that a sample reads, zero outside the image; addresses once, for all channels.
template <typename A>
struct Corners {
  int64_t offset;  // of the upper left one
  bool inside[4];

  HMEG_DEVICE Corners(const Tap<A>& row, const Tap<A>& column, const CropSizes& sizes)
      : offset(row.index * sizes.width + column.index) {
    const bool upper = row.index >= 0, lower = row.index >= -1 && row.index + 1 < sizes.height;
    const bool left = column.index >= 0, right = column.index >= -1 && column.index + 1 < sizes.width;
    inside[0] = upper && left, inside[1] = upper && right, inside[2] = lower && left, inside[3] = lower && right;
  }

  template <typename T>
  HMEG_DEVICE void read(const T* plane, int64_t width, A (&values)[4]) const {
    HMEG_UNROLL
    for (int k = 0; k < 4; ++k) {
      values[k] = inside[k] ? A(widen(plane[offset + (k / 2) * width + k % 2])) : A(0);
    }
  }
};

template <typename T, int kPack>
HMEG_KERNEL crop_boxes_forward(const T* images, const T* boxes, const int64_t* batch, T* crops, CropSizes sizes,
                               int64_t tiles, int64_t channel_blocks) {
  using A = Accumulator<T>;
  const int64_t tile = block_index() % tiles, rest = block_index() / tiles;
  const int64_t symbol = rest / channel_blocks, channels = sizes.channels / channel_blocks;
  const int64_t pack = tile * kBlock + thread_index(), packs = sizes.crop_width / kPack;
  const int64_t graph = batch[symbol];
  if (pack >= packs * sizes.crop_height || graph < 0 || graph >= sizes.graphs) return;
  const int64_t row = pack / packs, column = pack % packs * kPack;
  const Axis<A> horizontal = across(boxes + 4 * symbol, sizes);
  const Tap<A> y = down(boxes + 4 * symbol, sizes).tap(row);
  A fractions[kPack];
  int64_t offsets[kPack];
  unsigned inside[kPack];
  HMEG_UNROLL
  for (int k = 0; k < kPack; ++k) {
    const Tap<A> x = horizontal.tap(column + k);
    const Corners<A> corners(y, x, sizes);
    fractions[k] = x.fraction;
    offsets[k] = corners.offset;
    inside[k] = corners.inside[0] | corners.inside[1] << 1 | corners.inside[2] << 2 | corners.inside[3] << 3;
  }
  const int64_t first = rest % channel_blocks * channels, plane = sizes.height * sizes.width;
  for (int64_t channel = first; channel < first + channels; ++channel) {
    const T* const image = images + (graph * sizes.channels + channel) * plane;
    A taps[kPack][4];
    HMEG_UNROLL
    for (int k = 0; k < kPack; ++k) {
      HMEG_UNROLL
      for (int t = 0; t < 4; ++t) {
        taps[k][t] = inside[k] >> t & 1 ? A(widen(image[offsets[k] + t / 2 * sizes.width + t % 2])) : A(0);
      }
    }
    Pack<T, kPack> out;
    HMEG_UNROLL
    for (int k = 0; k < kPack; ++k) {
      const A f = fractions[k];
      const A upper = (A(1) - f) * taps[k][0] + f * taps[k][1], lower = (A(1) - f) * taps[k][2] + f * taps[k][3];
      out.items[k] = narrow<T>((A(1) - y.fraction) * upper + y.fraction * lower);
    }
    T* const crop = crops + (symbol * sizes.channels + channel) * sizes.crop_height * sizes.crop_width;
    store_pack(crop + row * sizes.crop_width + column, out);
  }
}

template <typename T>
HMEG_KERNEL crop_boxes_grad_boxes(const T* grad_crops, const T* images, const T* boxes, const int64_t* batch,
                                  T* grad_boxes, CropSizes sizes) {
  using A = Accumulator<T>;
  const int64_t symbol = block_index(), graph = batch[symbol], plane = sizes.height * sizes.width;
  const int64_t samples = sizes.crop_height * sizes.crop_width;
  const Axis<A> horizontal = across(boxes + 4 * symbol, sizes), vertical = down(boxes + 4 * symbol, sizes);
  A sums[4] = {};
  const int64_t mine = graph >= 0 && graph < sizes.graphs ? samples : 0;
  for (int64_t sample = thread_index(); sample < mine; sample += kBlock) {
    const int64_t row = sample / sizes.crop_width, column = sample % sizes.crop_width;
    const Tap<A> x = horizontal.tap(column), y = vertical.tap(row);
    const Corners<A> corners(y, x, sizes);
    A by_x = 0, by_y = 0;
    HMEG_UNROLL4
    for (int64_t channel = 0; channel < sizes.channels; ++channel) {
      A taps[4];
      corners.read(images + (graph * sizes.channels + channel) * plane, sizes.width, taps);
      const A grad = widen(grad_crops[(symbol * sizes.channels + channel) * samples + sample]);
      by_x += grad * ((A(1) - y.fraction) * (taps[1] - taps[0]) + y.fraction * (taps[3] - taps[2]));
      by_y += grad * ((A(1) - x.fraction) * (taps[2] - taps[0]) + x.fraction * (taps[3] - taps[1]));
    }
    by_x *= A(sizes.width), by_y *= A(sizes.height);
    const A along_x = horizontal.along(column), along_y = vertical.along(row);
    sums[0] += by_x * (A(1) - along_x);
    sums[1] += by_y * (A(1) - along_y);
    sums[2] += by_x * along_x;
    sums[3] += by_y * along_y;
  }
  block_sum<kBlock>(sums);
  if (thread_index() == 0) {
    HMEG_UNROLL
    for (int k = 0; k < 4; ++k) grad_boxes[4 * symbol + k] = narrow<T>(sums[k]);
  }
}

// Lists each image's symbols in ascending order: image n's are order[first[n]] to order[first[n + 1]]. A block for each
// image reads all of batch: V N numbers in all, from the L2 cache.
HMEG_KERNEL crop_boxes_order(const int64_t* batch, int64_t* first, int64_t* order, int64_t symbols, int64_t graphs) {
  HMEG_SHARED(int64_t, found, kBlock);
  HMEG_SHARED(int64_t, lower, kBlock);
  const int64_t graph = block_index(), share = (symbols + kBlock - 1) / kBlock;
  const int64_t begin = thread_index() * share, end = begin + share < symbols ? begin + share : symbols;
  int64_t mine = 0, below = 0;
  for (int64_t symbol = begin; symbol < end; ++symbol) {
    mine += batch[symbol] == graph;
    below += batch[symbol] >= 0 && batch[symbol] < graph;
  }
  found[thread_index()] = mine;
  lower[thread_index()] = below;
  sync_block();
  int64_t place = 0, all = 0;
  for (int thread = 0; thread < kBlock; ++thread) {
    place += lower[thread] + (thread < thread_index() ? found[thread] : 0);
    all += lower[thread] + found[thread];
  }
  if (thread_index() == 0) first[graph] = place;
  if (thread_index() == 0 && graph == graphs - 1) first[graphs] = all;
  for (int64_t symbol = begin; symbol < end; ++symbol) {
    if (batch[symbol] == graph) order[place++] = symbol;
  }
}

constexpr int kAcross = 16, kDown = kBlock / kAcross;  // packs of pixels in a tile, and rows at a time

template <typename T, int kPack, int kChannels>
HMEG_KERNEL crop_boxes_grad_images(const T* grad_crops, const T* boxes, const int64_t* first, const int64_t* order,
                                   T* grad_images, CropSizes sizes, int64_t column_tiles, int64_t row_tiles,
                                   int64_t tile_rows, int64_t channel_blocks) {
  using A = Accumulator<T>;
  const int64_t tile = block_index() % (column_tiles * row_tiles), rest = block_index() / (column_tiles * row_tiles);
  const int64_t graph = rest / channel_blocks, first_channel = rest % channel_blocks * kChannels;
  const int64_t left = tile % column_tiles * (kAcross * kPack), top = tile / column_tiles * tile_rows;
  const int64_t column = left + thread_index() % kAcross * kPack;
  const int64_t bottom = top + tile_rows < sizes.height ? top + tile_rows : sizes.height;
  const int64_t samples = sizes.crop_height * sizes.crop_width;
  const int64_t begin = first[graph], end = first[graph + 1];
  if (column >= sizes.width) return;
  for (int64_t row = top + thread_index() / kAcross; row < bottom; row += kDown) {
    A sums[kChannels][kPack] = {};
    for (int64_t place = begin; place < end; ++place) {
      const int64_t symbol = order[place];
      const Axis<A> vertical = down(boxes + 4 * symbol, sizes);
      int64_t first_row, last_row;
      vertical.touching(row, row, first_row, last_row);
      if (first_row >= last_row) continue;
      const Axis<A> horizontal = across(boxes + 4 * symbol, sizes);
      int64_t first_column, last_column;
      horizontal.touching(column, column + kPack - 1, first_column, last_column);
      const T* const crop = grad_crops + (symbol * sizes.channels + first_channel) * samples;
      for (int64_t i = first_row; i < last_row; ++i) {
        const A down_share = vertical.tap(i).share_of(row);
        if (!(down_share > A(0))) continue;
        for (int64_t j = first_column; j < last_column; ++j) {
          const Tap<A> x = horizontal.tap(j);
          A shares[kPack];
          HMEG_UNROLL
          for (int k = 0; k < kPack; ++k) shares[k] = x.share_of(column + k) * down_share;
          HMEG_UNROLL
          for (int c = 0; c < kChannels; ++c) {
            if (first_channel + c >= sizes.channels) continue;
            const A grad = widen(crop[c * samples + i * sizes.crop_width + j]);
            HMEG_UNROLL
            for (int k = 0; k < kPack; ++k) {
              if (shares[k] != A(0)) sums[c][k] += shares[k] * grad;
            }
          }
        }
      }
    }
    HMEG_UNROLL
    for (int c = 0; c < kChannels; ++c) {
      if (first_channel + c >= sizes.channels) continue;
      Pack<T, kPack> out;
      HMEG_UNROLL
      for (int k = 0; k < kPack; ++k) out.items[k] = narrow<T>(sums[c][k]);
      store_pack(
          grad_images + ((graph * sizes.channels + first_channel + c) * sizes.height + row) * sizes.width + column,
          out);
    }
  }
}

int64_t parts(int64_t count, int64_t size) { return (count + size - 1) / size; }

template <typename T, int kPack, int kChannels>
const char* grad_images_of(const T* grad_crops, const T* boxes, const int64_t* first, const int64_t* order,
                           T* grad_images, const CropSizes& sizes, void* stream) {
  const int64_t column_tiles = parts(sizes.width, kAcross * kPack), channel_blocks = parts(sizes.channels, kChannels);
  int64_t tile_rows = 4 * kDown;  // finding an image's boxes is worth many rows, unless there are too few blocks
  if (sizes.graphs * channel_blocks * column_tiles * parts(sizes.height, tile_rows) < kFewBlocks) tile_rows = kDown;
  const int64_t row_tiles = parts(sizes.height, tile_rows);
  return launch<kBlock>(crop_boxes_grad_images<T, kPack, kChannels>,
                        sizes.graphs * channel_blocks * column_tiles * row_tiles, stream, grad_crops, boxes, first,
                        order, grad_images, sizes, column_tiles, row_tiles, tile_rows, channel_blocks);
}

template <typename P>
CropSizes crop_sizes(const P& given) {
  return {given.symbols, given.graphs, given.channels, given.height, given.width, given.crop_height, given.crop_width};
}

template <typename P>
bool contiguous(const P& given) {
  return reached(given) == 0 || (given.column_stride == 1 && given.row_stride == given.width &&
                                 given.channel_stride == given.height * given.width &&
                                 given.graph_stride == given.channels * given.height * given.width);
}

constexpr const char* kNotContiguous = "crop_boxes: on a GPU images must be contiguous";

const char* run_forward(const CropBoxesForward& given, const Call& call) {
  const CropSizes sizes = crop_sizes(given);
  if (!contiguous(given)) return kNotContiguous;
  if (given.channels == 0) return nullptr;
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kPack = kWidePack<T>;
    auto* const out = static_cast<T*>(given.crops);
    const bool wide = packs_fit<kPack>(out, given.crop_width);
    const int64_t tiles = parts(given.crop_height * given.crop_width / (wide ? kPack : 1), kBlock);
    const int64_t channel_blocks = given.symbols * tiles < kFewBlocks ? given.channels : 1;
    const auto kernel = wide ? crop_boxes_forward<T, kPack> : crop_boxes_forward<T, 1>;
    return launch<kBlock>(kernel, given.symbols * channel_blocks * tiles, call.stream,
                          static_cast<const T*>(given.images), static_cast<const T*>(given.boxes), given.batch, out,
                          sizes, tiles, channel_blocks);
  });
}

HMEG_ENTRY(kCuda, crop_boxes_forward, run_forward);

// The order of the boxes by image, and where each image's begin.
int64_t backward_workspace(const CropBoxesBackward& given, const Call& /*call*/) {
  return (given.symbols + given.graphs + 1) * int64_t(sizeof(int64_t));
}

const char* run_backward(const CropBoxesBackward& given, const Call& call) {
  const CropSizes sizes = crop_sizes(given);
  if (!contiguous(given)) return kNotContiguous;
  auto* const order = static_cast<int64_t*>(call.workspace);
  int64_t* const first = order + given.symbols;
  const char* error = launch<kBlock>(crop_boxes_order, given.graphs, call.stream, given.batch, first, order,
                                     given.symbols, given.graphs);
  if (error != nullptr) return error;
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kPack = kWidePack<T>;
    const auto* const grad = static_cast<const T*>(given.grad_crops);
    const auto* const corners = static_cast<const T*>(given.boxes);
    auto* const out = static_cast<T*>(given.grad_images);
    const char* failed =
        launch<kBlock>(crop_boxes_grad_boxes<T>, given.symbols, call.stream, grad, static_cast<const T*>(given.images),
                       corners, given.batch, static_cast<T*>(given.grad_boxes), sizes);
    if (failed != nullptr) return failed;
    const auto of = packs_fit<kPack>(out, given.width)
                        ? (given.channels == 1 ? grad_images_of<T, kPack, 1> : grad_images_of<T, kPack, 4>)
                        : (given.channels == 1 ? grad_images_of<T, 1, 1> : grad_images_of<T, 1, 4>);
    return of(grad, corners, first, order, out, sizes, call.stream);
  });
}

HMEG_ENTRY(kCuda, crop_boxes_backward, run_backward, backward_workspace);

}  // namespace
}  // namespace hmeg
