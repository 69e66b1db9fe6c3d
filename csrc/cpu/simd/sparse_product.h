// Products out = A B whose left factor is half zeros, as what comes out of a ReLU is: a zero costs nothing.
//
// A row of A is known by where its numbers stand and by bits that say which of them are not zero, kDepth at a time. B
// comes in panels of kWidth columns, kDepth rows of which fit the first-level cache; a row of sums (kWidth) stays in
// registers while the bits are gone through. With 32 registers two rows of A go together: what both need of B is
// loaded once, since loads are what limits this.
#pragma once

#include "cpu/simd/wide.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace hmeg::simd::HMEG_SIMD {
namespace {

// Columns of a panel: eight registers, and at least a word of signs.
template <typename T>
constexpr int64_t kWidth = 8 * kRegisterLanes<T> > 32 ? 8 * kRegisterLanes<T> : 32;

// Numbers of a row of A that one word of bits tells of.
template <typename T>
constexpr int64_t kDepth = kWidth<T> < 64 ? kWidth<T> : 64;

// Vectors at any address.
template <typename T>
struct Loose {
  typedef T type __attribute__((vector_size(kRegisterBytes), aligned(sizeof(T)), may_alias));
};

template <typename T>
inline Pack<T> load(const T* from) {
  return *reinterpret_cast<const typename Loose<T>::type*>(from);
}

template <typename T>
inline void store(T* to, Pack<T> value) {
  *reinterpret_cast<typename Loose<T>::type*>(to) = value;
}

#define HMEG_UNROLLED _Pragma("GCC unroll 16") for

// out[0, kWidth) = (kAdd ? out : 0) + sum over the set bits j of value[j] * panel[j]. `next` will be asked for later.
template <typename T, bool kAdd>
inline void multiply_row(const T* value, uint64_t bits, const T* panel, T* out, const T* next) {
  constexpr int kCount = kWidth<T> / kRegisterLanes<T>, kLanes = kRegisterLanes<T>;
  Pack<T> sum[kCount];
  HMEG_UNROLLED(int i = 0; i < kCount; ++i) {
    sum[i] = kAdd ? load(out + i * kLanes) : Pack<T>{};
    __builtin_prefetch(next + i * kLanes);
  }
  for (; bits != 0; bits &= bits - 1) {
    const int64_t j = __builtin_ctzll(bits);
    const T* const row = panel + j * kWidth<T>;
    const T factor = value[j];
    HMEG_UNROLLED(int i = 0; i < kCount; ++i) sum[i] += factor * load(row + i * kLanes);
  }
  HMEG_UNROLLED(int i = 0; i < kCount; ++i) store(out + i * kLanes, sum[i]);
}

#if defined(__AVX512F__)
// Adds the products of the bits of one row.
template <typename T, int kCount>
inline void add_products(const T* value, uint64_t bits, const T* panel, Pack<T> (&sum)[kCount]) {
  for (; bits != 0; bits &= bits - 1) {
    const int64_t j = __builtin_ctzll(bits);
    const T* const row = panel + j * kWidth<T>;
    const T factor = value[j];
    HMEG_UNROLLED(int i = 0; i < kCount; ++i) sum[i] += factor * load(row + i * kRegisterLanes<T>);
  }
}

// multiply_row for two rows at once. Every sum adds first what both rows have, then what only its own has.
template <typename T, bool kAdd>
inline void multiply_pair(const T* first, uint64_t first_bits, const T* second, uint64_t second_bits, const T* panel,
                          T* first_out, T* second_out, int64_t ahead) {
  constexpr int kCount = kWidth<T> / kRegisterLanes<T>, kLanes = kRegisterLanes<T>;
  Pack<T> a[kCount], b[kCount];
  HMEG_UNROLLED(int i = 0; i < kCount; ++i) {
    a[i] = kAdd ? load(first_out + i * kLanes) : Pack<T>{};
    b[i] = kAdd ? load(second_out + i * kLanes) : Pack<T>{};
    __builtin_prefetch(first_out + ahead + i * kLanes);
    __builtin_prefetch(second_out + ahead + i * kLanes);
  }
  for (uint64_t bits = first_bits & second_bits; bits != 0; bits &= bits - 1) {
    const int64_t j = __builtin_ctzll(bits);
    const T* const row = panel + j * kWidth<T>;
    const T left = first[j], right = second[j];
    HMEG_UNROLLED(int i = 0; i < kCount; ++i) {
      Pack<T> both = load(row + i * kLanes);
      asm("" : "+v"(both));  // or the compiler loads it twice
      a[i] += left * both;
      b[i] += right * both;
    }
  }
  add_products(first, first_bits & ~second_bits, panel, a);
  add_products(second, second_bits & ~first_bits, panel, b);
  HMEG_UNROLLED(int i = 0; i < kCount; ++i) {
    store(first_out + i * kLanes, a[i]);
    store(second_out + i * kLanes, b[i]);
  }
}
#endif

// out[i, 0..kWidth) = (kAdd ? out : 0) + A[i] panel for `count` rows; A.value(i) and A.bits(i) are its row i.
template <typename T, bool kAdd, typename Rows>
inline void multiply_block(const Rows& rows, int64_t count, const T* panel, T* out, int64_t step) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 2 <= count; i += 2) {
    multiply_pair<T, kAdd>(rows.value(i), rows.bits(i), rows.value(i + 1), rows.bits(i + 1), panel, out + i * step,
                           out + (i + 1) * step, i + 4 <= count ? 2 * step : 0);
  }
#endif
  for (; i < count; ++i) {
    multiply_row<T, kAdd>(rows.value(i), rows.bits(i), panel, out + i * step, out + (i + 1 < count ? i + 1 : i) * step);
  }
}

template <typename T, typename Rows>
inline void multiply(bool add, const Rows& rows, int64_t count, const T* panel, T* out, int64_t step) {
  if (add) {
    multiply_block<T, true>(rows, count, panel, out, step);
  } else {
    multiply_block<T, false>(rows, count, panel, out, step);
  }
}

// Bit i says whether value[i] is anything but zero, for up to kDepth of them. NaN is.
template <typename T>
inline uint64_t bits_by_one(const T* value, int64_t begin, int64_t count) {
  uint64_t bits = 0;
  for (int64_t i = begin; i < count; ++i) bits |= uint64_t(value[i] != T(0)) << i;
  return bits;
}

inline uint64_t nonzero_bits(const float* value, int64_t count) {
  uint64_t bits = 0;
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= count; i += 16) {
    bits |= uint64_t(_mm512_cmp_ps_mask(_mm512_loadu_ps(value + i), _mm512_setzero_ps(), _CMP_NEQ_UQ)) << i;
  }
#elif defined(__AVX2__)
  for (; i + 8 <= count; i += 8) {
    const __m256 differs = _mm256_cmp_ps(_mm256_loadu_ps(value + i), _mm256_setzero_ps(), _CMP_NEQ_UQ);
    bits |= uint64_t(uint32_t(_mm256_movemask_ps(differs))) << i;
  }
#endif
  return bits | bits_by_one(value, i, count);
}

inline uint64_t nonzero_bits(const double* value, int64_t count) { return bits_by_one(value, 0, count); }

// masks[i]: bit e says whether bit i of words[e] is set, for 32 bits of kCount words, 64 at most.
template <int64_t kCount>
inline void transpose_bits(const uint32_t* words, uint64_t* masks) {
#if defined(__AVX512F__)
  for (int i = 0; i < 32; ++i) {
    const __m512i bit = _mm512_set1_epi32(int32_t(1u << i));
    uint64_t mask = 0;
    HMEG_UNROLLED(int64_t e = 0; e < kCount; e += 16) {
      mask |= uint64_t(_mm512_test_epi32_mask(_mm512_loadu_si512(words + e), bit)) << e;
    }
    masks[i] = mask;
  }
#elif defined(__AVX2__)
  for (int i = 0; i < 32; ++i) masks[i] = 0;
  for (int64_t e = 0; e < kCount; e += 8) {
    __m256i word = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words + e));
    for (int i = 31; i >= 0; --i) {  // the sign is what a mask can be made of
      masks[i] |= uint64_t(uint32_t(_mm256_movemask_ps(_mm256_castsi256_ps(word)))) << e;
      word = _mm256_add_epi32(word, word);
    }
  }
#else
  for (int i = 0; i < 32; ++i) {
    uint64_t mask = 0;
    for (int64_t e = 0; e < kCount; ++e) mask |= uint64_t((words[e] >> i) & 1u) << e;
    masks[i] = mask;
  }
#endif
}

constexpr int64_t kSquare = 8;  // rows and columns that are transposed at once

// to[c * step + r] = row(r)[c] for r and c in [0, kSquare)
template <typename T, typename Row>
inline void transpose_square(const Row& row, T* to, int64_t step) {
  for (int64_t r = 0; r < kSquare; ++r) {
    const T* const from = row(r);
    for (int64_t c = 0; c < kSquare; ++c) to[c * step + r] = from[c];
  }
}

#if defined(__AVX2__)
template <typename Row>
inline void transpose_square(const Row& row, float* to, int64_t step) {
  __m256 pairs[8], quads[8];
  HMEG_UNROLLED(int r = 0; r < 8; r += 2) {
    const __m256 a = _mm256_loadu_ps(row(r)), b = _mm256_loadu_ps(row(r + 1));
    pairs[r] = _mm256_unpacklo_ps(a, b);
    pairs[r + 1] = _mm256_unpackhi_ps(a, b);
  }
  HMEG_UNROLLED(int r = 0; r < 8; r += 4) {
    quads[r] = _mm256_shuffle_ps(pairs[r], pairs[r + 2], 0x44);
    quads[r + 1] = _mm256_shuffle_ps(pairs[r], pairs[r + 2], 0xee);
    quads[r + 2] = _mm256_shuffle_ps(pairs[r + 1], pairs[r + 3], 0x44);
    quads[r + 3] = _mm256_shuffle_ps(pairs[r + 1], pairs[r + 3], 0xee);
  }
  HMEG_UNROLLED(int c = 0; c < 4; ++c) {
    _mm256_storeu_ps(to + c * step, _mm256_permute2f128_ps(quads[c], quads[c + 4], 0x20));
    _mm256_storeu_ps(to + (c + 4) * step, _mm256_permute2f128_ps(quads[c], quads[c + 4], 0x31));
  }
}
#endif

// to[c * step + r] = row(r)[c] for r in [0, rows) and c in [0, columns)
template <typename T, typename Row>
inline void transpose(const Row& row, int64_t rows, int64_t columns, T* to, int64_t step) {
  int64_t r = 0;
  for (; r + kSquare <= rows; r += kSquare) {
    int64_t c = 0;
    for (; c + kSquare <= columns; c += kSquare) {
      transpose_square([&](int64_t i) { return row(r + i) + c; }, to + c * step + r, step);
    }
    for (; c < columns; ++c) {
      for (int64_t i = r; i < r + kSquare; ++i) to[c * step + i] = row(i)[c];
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * step + r] = row(r)[c];
  }
}

// Panel (depth, kWidth) of the columns of B from `from` on, `columns` of them or the first kWidth; of less, the others
// are zero. B[j, w] is from[j * by_row + w], or from[w * by_column + j]: the other of the two is 1.
template <typename T>
inline void pack_panel(const T* from, int64_t by_row, int64_t by_column, int64_t depth, int64_t columns, T* panel) {
  if (columns > kWidth<T>) columns = kWidth<T>;
  if (by_column == 1) {
    for (int64_t j = 0; j < depth; ++j) {
      for (int64_t w = 0; w < columns; ++w) panel[j * kWidth<T> + w] = from[j * by_row + w];
    }
  } else {
    transpose([&](int64_t w) { return from + w * by_column; }, columns, depth, panel, kWidth<T>);
  }
  if (columns == kWidth<T>) return;
  for (int64_t j = 0; j < depth; ++j) {
    for (int64_t w = columns; w < kWidth<T>; ++w) panel[j * kWidth<T> + w] = T(0);
  }
}

}  // namespace
}  // namespace hmeg::simd::HMEG_SIMD
