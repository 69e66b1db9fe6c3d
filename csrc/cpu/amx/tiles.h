// Products of float32 matrices by the processor's matrix unit (AMX), which multiplies bfloat16 and adds in float32.
//
// A float32 has 24 bits of mantissa, a bfloat16 has 8 and a sign: in three parts, each the nearest to what is left, a
// number is their sum, to the last bit unless it is below 2^-100. Of the nine products of two such sums, six reach
// 2^-24 of the result: with those a product is as exact as float32's own. Two parts and three products give 17 bits,
// one part is bfloat16. Numbers above 3.39e38 count as infinite.
//
// Tiles are 1 KB: 16 rows of 32 numbers of a left factor; of a right one 32 rows of 16 columns, rows in pairs that lie
// side by side. So one is the other's transpose, taken by words of 32 bits. A factor lies as
//     left   (blocks of 16 rows, blocks of 32 of the depth, parts, tile)
//     right  (blocks of 16 columns, blocks of 32 of the depth, parts, tile)
// with the most significant part first, and zeros for what is not there.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace hmeg::amx {
namespace {

using Part = uint16_t;  // a bfloat16

constexpr int64_t kTile = 512;  // numbers of a tile
constexpr int64_t kSide = 16;   // rows of a left tile, columns of a right one
constexpr int64_t kDeep = 32;   // what both have of the depth
constexpr int64_t kBlock = 32;  // rows and columns of a result that are made at once: two tiles by two

#define HMEG_AMX_UNROLLED _Pragma("GCC unroll 16") for

// The thread's tile registers, eight whole tiles, while this lives.
class TileRegisters {
 public:
  TileRegisters() {
    alignas(64) uint8_t configuration[64] = {1};
    for (int tile = 0; tile < 8; ++tile) {
      configuration[16 + 2 * tile] = 64;  // bytes of a row
      configuration[48 + tile] = 16;      // rows
    }
    _tile_loadconfig(configuration);
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

// The nearest bfloat16 to each number, as a float32; of two, the larger. NaN stays one.
inline __m512 nearest_part(__m512 value) {
  const __m512i rounded = _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(value), _mm512_set1_epi32(0x8000)),
                                           _mm512_set1_epi32(int32_t(0xffff0000u)));
  const __mmask16 unordered = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  return _mm512_mask_mov_ps(_mm512_castsi512_ps(rounded), unordered, value);
}

// What is left of a number without its part; nothing where the part is infinite.
inline __m512 without(__m512 value, __m512 part) {
  const __mmask16 bounded = _mm512_cmp_ps_mask(_mm512_abs_ps(part), _mm512_set1_ps(__builtin_inff()), _CMP_NEQ_UQ);
  return _mm512_maskz_sub_ps(bounded, value, part);
}

// The upper halves of 16 numbers each.
inline __m512i upper_halves(__m512 first, __m512 second) {
  const __m512i odd = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25,
                                       23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  return _mm512_permutex2var_epi16(_mm512_castps_si512(first), odd, _mm512_castps_si512(second));
}

// One row of a left tile, 32 numbers, and of the tiles of its other parts after it.
template <int kParts>
inline void split_row(__m512 first, __m512 second, Part* to) {
  HMEG_AMX_UNROLLED(int part = 0; part + 1 < kParts; ++part) {
    const __m512 a = nearest_part(first), b = nearest_part(second);
    _mm512_store_si512(to + part * kTile, upper_halves(a, b));
    first = without(first, a);
    second = without(second, b);
  }
  _mm512_store_si512(to + (kParts - 1) * kTile, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first)));
}

template <int kParts>
inline void clear_row(Part* to) {
  HMEG_AMX_UNROLLED(int part = 0; part < kParts; ++part) {
    _mm512_store_si512(to + part * kTile, _mm512_setzero_si512());
  }
}

// Where row r of two left tiles below each other stands, 32 rows; `below`: from one tile to the next.
inline Part* row_of(Part* tiles, int64_t below, int64_t r) { return tiles + r / kSide * below + r % kSide * kDeep; }

inline __mmask16 first_lanes(int64_t count) {
  return count >= 16 ? __mmask16(0xffff) : count <= 0 ? __mmask16(0) : __mmask16((1u << count) - 1);
}

// Two left tiles below each other, in parts: 32 rows of 32 columns, of which `rows` and `columns` are there.
template <int kParts, typename Row>
inline void split_rows(const Row& row, int64_t rows, int64_t columns, Part* to, int64_t below) {
  const __mmask16 left = first_lanes(columns), right = first_lanes(columns - 16);
  for (int64_t r = 0; r < kBlock; ++r) {
    if (r < rows) {
      const float* const from = row(r);
      split_row<kParts>(_mm512_maskz_loadu_ps(left, from), _mm512_maskz_loadu_ps(right, from + 16),
                        row_of(to, below, r));
    } else {
      clear_row<kParts>(row_of(to, below, r));
    }
  }
}

// Right tiles whose depth are the rows: 32 rows of 32 columns, given as two left tiles below each other, become two
// right tiles side by side.
inline void pair_rows(const Part* from, int64_t below, Part* first, Part* second) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                       5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  for (int64_t pair = 0; pair < kSide; ++pair) {
    const Part* const rows = from + pair / 8 * below + pair % 8 * 2 * kDeep;
    const __m512i a = _mm512_load_si512(rows), b = _mm512_load_si512(rows + kDeep);
    _mm512_store_si512(first + pair * kDeep, _mm512_permutex2var_epi16(a, low, b));
    _mm512_store_si512(second + pair * kDeep, _mm512_permutex2var_epi16(a, high, b));
  }
}

// A left tile as a right one or the other way round: the transpose of 16 x 16 words.
inline void transpose_tile(const Part* from, Part* to) {
  __m512i a[16], b[16];
  HMEG_AMX_UNROLLED(int i = 0; i < 16; ++i) a[i] = _mm512_load_si512(from + i * kDeep);
  HMEG_AMX_UNROLLED(int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
  HMEG_AMX_UNROLLED(int i = 0; i < 16; i += 4) {
    HMEG_AMX_UNROLLED(int j = 0; j < 2; ++j) {
      a[i + 2 * j] = _mm512_unpacklo_epi64(b[i + j], b[i + 2 + j]);
      a[i + 2 * j + 1] = _mm512_unpackhi_epi64(b[i + j], b[i + 2 + j]);
    }
  }
  // a[4 i + j]: of every four columns the j-th, of rows 4 i to 4 i + 3
  HMEG_AMX_UNROLLED(int j = 0; j < 4; ++j) {
    const __m512i even_low = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x88);
    const __m512i odd_low = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xdd);
    const __m512i even_high = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x88);
    const __m512i odd_high = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xdd);
    _mm512_store_si512(to + j * kDeep, _mm512_shuffle_i32x4(even_low, even_high, 0x88));
    _mm512_store_si512(to + (4 + j) * kDeep, _mm512_shuffle_i32x4(odd_low, odd_high, 0x88));
    _mm512_store_si512(to + (8 + j) * kDeep, _mm512_shuffle_i32x4(even_low, even_high, 0xdd));
    _mm512_store_si512(to + (12 + j) * kDeep, _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd));
  }
}

#define HMEG_AMX_LEFT(part)                  \
  _tile_loadd(4, left + (part) * kTile, 64); \
  _tile_loadd(5, left + left_step + (part) * kTile, 64)
#define HMEG_AMX_RIGHT(part)                  \
  _tile_loadd(6, right + (part) * kTile, 64); \
  _tile_loadd(7, right + right_step + (part) * kTile, 64)
#define HMEG_AMX_MULTIPLY() \
  _tile_dpbf16ps(0, 4, 6);  \
  _tile_dpbf16ps(1, 4, 7);  \
  _tile_dpbf16ps(2, 5, 6);  \
  _tile_dpbf16ps(3, 5, 7)

// out (32, 32), rows `step` apart, = (add ? out : 0) + left right, of `depth` blocks. Two blocks of rows and of
// columns, left_step and right_step from the first to the second. Needs TileRegisters.
template <int kParts>
inline void multiply_block(bool add, const Part* left, int64_t left_step, const Part* right, int64_t right_step,
                           int64_t depth, float* out, int64_t step) {
  const int64_t row = step * int64_t(sizeof(float));
  float* const below = out + kSide * step;
  if (add) {
    _tile_loadd(0, out, row);
    _tile_loadd(1, out + kSide, row);
    _tile_loadd(2, below, row);
    _tile_loadd(3, below + kSide, row);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t block = 0; block < depth; ++block, left += kParts * kTile, right += kParts * kTile) {
    // In an order in which most products need only one factor loaded.
    if (kParts == 3) {
      HMEG_AMX_LEFT(0);
      HMEG_AMX_RIGHT(2);
      HMEG_AMX_MULTIPLY();
      HMEG_AMX_RIGHT(1);
      HMEG_AMX_MULTIPLY();
      HMEG_AMX_LEFT(1);
      HMEG_AMX_MULTIPLY();
      HMEG_AMX_RIGHT(0);
      HMEG_AMX_MULTIPLY();
      HMEG_AMX_LEFT(2);
      HMEG_AMX_MULTIPLY();
      HMEG_AMX_LEFT(0);
      HMEG_AMX_MULTIPLY();
    } else if (kParts == 2) {
      HMEG_AMX_LEFT(0);
      HMEG_AMX_RIGHT(1);
      HMEG_AMX_MULTIPLY();
      HMEG_AMX_RIGHT(0);
      HMEG_AMX_MULTIPLY();
      HMEG_AMX_LEFT(1);
      HMEG_AMX_MULTIPLY();
    } else {
      HMEG_AMX_LEFT(0);
      HMEG_AMX_RIGHT(0);
      HMEG_AMX_MULTIPLY();
    }
  }
  _tile_stored(0, out, row);
  _tile_stored(1, out + kSide, row);
  _tile_stored(2, below, row);
  _tile_stored(3, below + kSide, row);
}

#undef HMEG_AMX_LEFT
#undef HMEG_AMX_RIGHT
#undef HMEG_AMX_MULTIPLY

// multiply_block for a result of which only `rows` and `columns` are there.
template <int kParts>
inline void multiply_part(bool add, const Part* left, int64_t left_step, const Part* right, int64_t right_step,
                          int64_t depth, float* out, int64_t step, int64_t rows, int64_t columns) {
  if (rows >= kBlock && columns >= kBlock) {
    multiply_block<kParts>(add, left, left_step, right, right_step, depth, out, step);
    return;
  }
  alignas(64) float block[kBlock * kBlock];
  multiply_block<kParts>(false, left, left_step, right, right_step, depth, block, kBlock);
  for (int64_t r = 0; r < rows && r < kBlock; ++r) {
    for (int64_t c = 0; c < columns && c < kBlock; ++c) {
      float& result = out[r * step + c];
      result = (add ? result : 0.0f) + block[r * kBlock + c];
    }
  }
}

}  // namespace
}  // namespace hmeg::amx
