// normal_noise: indices (N,) -> noise (N, numbers), float32; csrc/normal_noise.h says what it is.
//
// A thread makes four numbers, one Philox block, and stores them in one access of 16 bytes where samples are whole
// numbers of those; a CUDA block has kTile such blocks of one sample, so that a sample is looked up once for kSteps of
// them. Products and sums are the rounded ones of device.h: none is fused, so numbers are those of every other backend.
#include "normal_noise.h"

#include "device.h"
#include "entry.h"

namespace hmeg {
namespace {

using namespace noise;

constexpr int kBlock = 256;
constexpr int kSteps = 4;
constexpr int64_t kTile = kBlock * kSteps;  // Philox blocks

struct Words {
  uint32_t items[4];
};

HMEG_DEVICE Words philox(uint32_t block, uint64_t index, uint64_t seed) {
  uint32_t c0 = block, c1 = kPurpose, c2 = static_cast<uint32_t>(index), c3 = static_cast<uint32_t>(index >> 32);
  uint32_t low = static_cast<uint32_t>(seed), high = static_cast<uint32_t>(seed >> 32);
  HMEG_UNROLL
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kFactor0) * c0, p2 = static_cast<uint64_t>(kFactor2) * c2;
    c0 = static_cast<uint32_t>(p2 >> 32) ^ c1 ^ low;
    c1 = static_cast<uint32_t>(p2);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ high;
    c3 = static_cast<uint32_t>(p0);
    low += kGrowthLow;
    high += kGrowthHigh;
  }
  return {{c0, c1, c2, c3}};
}

// a x + b, rounded twice.
HMEG_DEVICE float step(float a, float x, float b) { return rounded_sum(rounded_product(a, x), b); }

// sqrt(-2 ln u) for u = (word + 1/2) / 2^32.
HMEG_DEVICE float radius(uint32_t word) {
  // Both terms are exact, so the sum is the one rounding.
  const float u = rounded_sum(rounded_product(static_cast<float>(static_cast<int32_t>(word >> 16)), 0x1p-16f),
                              step(static_cast<float>(static_cast<int32_t>(word & 0xFFFFu)), 0x1p-32f, 0x1p-33f));
  const int32_t k = (bits_of(u) - kRootOfHalfBits) >> 23;
  const float exponent = static_cast<float>(k);
  const float f = rounded_sum(float_of(bits_of(u) - k * (1 << 23)), -1.0f), square = rounded_product(f, f);
  float tail = step(kLog10, f, kLog9);
  tail = step(tail, f, kLog8);
  tail = step(tail, f, kLog7);
  tail = step(tail, f, kLog6);
  tail = step(tail, f, kLog5);
  tail = step(tail, f, kLog4);
  tail = step(tail, f, kLog3);
  tail = rounded_sum(rounded_product(rounded_product(f, square), tail), rounded_product(exponent, kLn2Low));
  tail = rounded_sum(tail, rounded_product(square, -0.5f));
  const float logarithm = rounded_sum(rounded_sum(f, tail), rounded_product(exponent, kLn2High));
  return rounded_root(rounded_product(logarithm, -2.0f));
}

struct Direction {
  float cosine, sine;
};

// Of 2 pi word / 2^32: a quarter turn a number of times, and at most an eighth on either side.
HMEG_DEVICE Direction direction(uint32_t word) {
  const uint32_t turned = word + 0x20000000u, quarter = turned >> 30;
  const int32_t part = static_cast<int32_t>(turned & 0x3FFFFFFFu) - 0x20000000;
  const float x = rounded_product(static_cast<float>(part), 0x1p-30f), square = rounded_product(x, x);
  float s = step(square, kSine7, kSine5);
  s = step(s, square, kSine3);
  s = step(s, square, kSine1);
  s = rounded_product(s, x);
  float c = step(square, kCosine8, kCosine6);
  c = step(c, square, kCosine4);
  c = step(c, square, kCosine2);
  c = step(c, square, 1.0f);
  const float across = quarter & 1 ? s : c, up = quarter & 1 ? c : s;
  return {quarter == 1 || quarter == 2 ? -across : across, quarter >= 2 ? -up : up};
}

// kPack: 4 where four numbers may be stored at once, else 1.
template <int kPack>
HMEG_KERNEL normal_noise(const int64_t* indices, float* noise, int64_t numbers, int64_t tiles, uint64_t seed) {
  const int64_t sample = block_index() / tiles;
  const uint64_t index = static_cast<uint64_t>(indices[sample]);
  float* const row = noise + sample * numbers;
  int64_t block = block_index() % tiles * kTile + thread_index();
  for (int turn = 0; turn < kSteps && 4 * block < numbers; ++turn, block += kBlock) {
    const Words words = philox(static_cast<uint32_t>(block), index, seed);
    Pack<float, 4> pack;
    HMEG_UNROLL
    for (int pair = 0; pair < 2; ++pair) {
      const float scale = radius(words.items[2 * pair]);
      const Direction at = direction(words.items[2 * pair + 1]);
      pack.items[2 * pair] = rounded_product(scale, at.cosine);
      pack.items[2 * pair + 1] = rounded_product(scale, at.sine);
    }
    if (kPack == 4) {
      store_pack(row + 4 * block, pack);
    } else {
      HMEG_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (4 * block + i < numbers) row[4 * block + i] = pack.items[i];
      }
    }
  }
}

const char* run(const NormalNoise& given, const Call& call) {
  const int64_t tiles = (given.numbers + 4 * kTile - 1) / (4 * kTile);
  const auto kernel = packs_fit<4>(given.out, given.numbers) ? normal_noise<4> : normal_noise<1>;
  return launch<kBlock>(kernel, given.samples * tiles, call.stream, given.indices, given.out, given.numbers, tiles,
                        static_cast<uint64_t>(given.seed));
}

HMEG_ENTRY(kCuda, normal_noise, run);

}  // namespace
}  // namespace hmeg
