// Compiled once per instruction set (HMEG_SIMD names it), without contraction of products and sums (CMakeLists.txt):
// every addition, subtraction, multiplication and square root below is rounded to float32 by itself, as on all other
// backends.
#include "cpu/simd/normal_noise_simd.h"

#include "cpu/simd/wide.h"
#include "normal_noise.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace hmeg::simd::HMEG_SIMD {
namespace {

using namespace noise;

constexpr int kLanes = kRegisterLanes<float>;  // blocks that are made at once

typedef uint64_t Doubles __attribute__((vector_size(kRegisterBytes)));  // a word in the lower half of each
typedef uint32_t Words __attribute__((vector_size(kRegisterBytes)));
typedef int32_t Integers __attribute__((vector_size(kRegisterBytes)));
typedef float Floats __attribute__((vector_size(kRegisterBytes)));

// The product of the lower halves with `factor`. (With masks of ones: GCC 12 warns of what AVX-512's plain forms leave
// undefined.)
inline Doubles product(Doubles word, uint32_t factor) {
#if defined(__AVX512F__)
  return (Doubles)_mm512_maskz_mul_epu32(0xFF, (__m512i)word, _mm512_set1_epi64(factor));
#elif defined(__AVX2__)
  return (Doubles)_mm256_mul_epu32((__m256i)word, _mm256_set1_epi64x(factor));
#elif defined(__SSE2__)
  return (Doubles)_mm_mul_epu32((__m128i)word, _mm_set1_epi64x(factor));
#else
  return (word & 0xFFFFFFFFu) * factor;
#endif
}

inline Floats square_root(Floats value) {
#if defined(__AVX512F__)
  return (Floats)_mm512_maskz_sqrt_ps(0xFFFF, (__m512)value);
#elif defined(__AVX2__)
  return (Floats)_mm256_sqrt_ps((__m256)value);
#elif defined(__SSE2__)
  return (Floats)_mm_sqrt_ps((__m128)value);
#else
  for (int lane = 0; lane < kLanes; ++lane) value[lane] = __builtin_sqrtf(value[lane]);
  return value;
#endif
}

// The key of every round, in the lower halves.
struct Keys {
  uint64_t low[kRounds], high[kRounds];

  explicit Keys(uint64_t seed) {
    for (uint32_t round = 0; round < kRounds; ++round) {
      low[round] = uint32_t(seed) + round * kGrowthLow;
      high[round] = uint32_t(seed >> 32) + round * kGrowthHigh;
    }
  }
};

// The four words of some blocks of one sample. Only lower halves count, going in, on the way and coming out.
inline void philox(Doubles block, uint64_t index, const Keys& keys, Doubles (&words)[4]) {
  const Doubles zero = {};
  Doubles c0 = block, c1 = zero + kPurpose, c2 = zero + index, c3 = zero + (index >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < kRounds; ++round) {
    const Doubles p0 = product(c0, kFactor0), p2 = product(c2, kFactor2);
    c0 = (p2 >> 32) ^ c1 ^ keys.low[round];
    c1 = p2;
    c2 = (p0 >> 32) ^ c3 ^ keys.high[round];
    c3 = p0;
  }
  words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

inline Floats as_floats(Words words) { return __builtin_convertvector((Integers)words, Floats); }

// sqrt(-2 ln u) for u = (word + 1/2) / 2^32.
inline Floats radius(Words word) {
  // Both terms are exact, so the sum is the one rounding.
  const Floats u = as_floats(word >> 16) * 0x1p-16f + (as_floats(word & 0xFFFFu) + 0.5f) * 0x1p-32f;
  const Integers k = ((Integers)u - kRootOfHalfBits) >> 23;
  const Floats exponent = __builtin_convertvector(k, Floats);
  const Floats f = (Floats)((Integers)u - (k << 23)) - 1.0f;
  const Floats square = f * f;
  Floats tail = f * kLog10 + kLog9;
  tail = tail * f + kLog8;
  tail = tail * f + kLog7;
  tail = tail * f + kLog6;
  tail = tail * f + kLog5;
  tail = tail * f + kLog4;
  tail = tail * f + kLog3;
  tail = (f * square) * tail + exponent * kLn2Low - square * 0.5f;
  return square_root(((f + tail) + exponent * kLn2High) * -2.0f);
}

// Cosine and sine of 2 pi word / 2^32: a quarter turn a number of times, and at most an eighth on either side.
inline void direction(Words word, Floats* cosine, Floats* sine) {
  const Words turned = word + 0x20000000u, quarter = turned >> 30;
  const Floats x = as_floats((turned & 0x3FFFFFFFu) - 0x20000000u) * 0x1p-30f, square = x * x;
  Floats s = square * kSine7 + kSine5;
  s = s * square + kSine3;
  s = s * square + kSine1;
  s = s * x;
  Floats c = square * kCosine8 + kCosine6;
  c = c * square + kCosine4;
  c = c * square + kCosine2;
  c = c * square + 1.0f;
  const Words swapped = -(quarter & 1);  // all bits, or none
  const Words across = ((Words)s & swapped) | ((Words)c & ~swapped), up = ((Words)c & swapped) | ((Words)s & ~swapped);
  *cosine = (Floats)(across ^ (((quarter + 1) >> 1) << 31));
  *sine = (Floats)(up ^ ((quarter >> 1) << 31));
}

// out[4 b + i] = number i of block first + b, for b in [0, kLanes).
inline void some_blocks(int64_t first, uint64_t index, const Keys& keys, float* __restrict__ out) {
  static constexpr uint64_t kEven[] = {0, 2, 4, 6, 8, 10, 12, 14};
  const Doubles even = load_as<Doubles>(kEven) + uint64_t(first);
  Doubles even_words[4], odd_words[4];
  philox(even, index, keys, even_words);
  philox(even + 1, index, keys, odd_words);
  Words words[4];
  for (int i = 0; i < 4; ++i) words[i] = (Words)((even_words[i] & 0xFFFFFFFFu) | (odd_words[i] << 32));
  float numbers[4][kLanes];
  for (int pair = 0; pair < 2; ++pair) {
    Floats cosine, sine;
    direction(words[2 * pair + 1], &cosine, &sine);
    const Floats scale = radius(words[2 * pair]);
    store_as(numbers[2 * pair], scale * cosine);
    store_as(numbers[2 * pair + 1], scale * sine);
  }
#pragma GCC unroll 4
  for (int lane = 0; lane < kLanes; lane += 4) {
#if defined(__SSE2__)
    __m128 rows[4];
    for (int i = 0; i < 4; ++i) rows[i] = _mm_loadu_ps(numbers[i] + lane);
    _MM_TRANSPOSE4_PS(rows[0], rows[1], rows[2], rows[3]);
    for (int i = 0; i < 4; ++i) _mm_storeu_ps(out + 4 * (lane + i), rows[i]);
#else
    for (int i = 0; i < 16; ++i) out[4 * lane + i] = numbers[i % 4][lane + i / 4];
#endif
  }
}

}  // namespace

void normal_noise(const int64_t* indices, float* out, int64_t numbers, int64_t begin, int64_t end, uint64_t seed) {
  const Keys keys(seed);
  const int64_t blocks = (numbers + 3) / 4;
  for (int64_t at = begin; at < end;) {
    const int64_t sample = at / blocks, first = at % blocks;
    const int64_t last = end - at < blocks - first ? first + end - at : blocks;
    float* const row = out + sample * numbers;
    const uint64_t index = uint64_t(indices[sample]);
    int64_t block = first;
    for (; block + kLanes <= last && 4 * (block + kLanes) <= numbers; block += kLanes) {
      some_blocks(block, index, keys, row + 4 * block);
    }
    for (; block < last; block += kLanes) {  // what is left of the sample or the range
      float rest[4 * kLanes];
      some_blocks(block, index, keys, rest);
      const int64_t stop = 4 * last < numbers ? 4 * last : numbers;
      for (int64_t i = 4 * block; i < stop && i < 4 * (block + kLanes); ++i) row[i] = rest[i - 4 * block];
    }
    at += last - first;
  }
}

}  // namespace hmeg::simd::HMEG_SIMD
