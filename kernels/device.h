// The kernels' only gateway to a device. Under nvcc it is CUDA; under g++ it is the emulator in tests/emulation, where
// every device thread is a fiber. docs/kernels.md has the rules that keep one source good for both.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define HMEG_KERNEL __global__ void
// A kernel that is launched in blocks of `threads`, kept to the registers with which `blocks` of them fit one
// multiprocessor.
#define HMEG_KERNEL_FITTED(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define HMEG_DEVICE __device__ __forceinline__
// An array of `count` (a compile-time constant) T in shared memory, one per block; it starts at a multiple of 16 bytes.
#define HMEG_SHARED(T, name, count) __shared__ __align__(16) T name[count]
// Before a loop whose body is to be repeated, so that arrays indexed by its counter stay in registers.
#define HMEG_UNROLL _Pragma("unroll")
#define HMEG_UNROLL4 _Pragma("unroll 4")

namespace hmeg {

using Half = __half;
using BFloat16 = __nv_bfloat16;

HMEG_DEVICE int64_t block_index() { return static_cast<int64_t>(blockIdx.x); }
HMEG_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
HMEG_DEVICE void sync_block() { __syncthreads(); }
template <typename A>
HMEG_DEVICE A shuffle_xor(A value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <typename A>
HMEG_DEVICE A shuffle_down(A value, int distance) {
  return __shfl_down_sync(0xffffffffu, value, distance);
}
template <typename A>
HMEG_DEVICE A shuffle_up(A value, int distance) {
  return __shfl_up_sync(0xffffffffu, value, distance);
}
// In how many lanes of the warp `condition` holds.
HMEG_DEVICE int count_lanes(bool condition) { return __popc(__ballot_sync(0xffffffffu, condition)); }
template <typename Wide>
HMEG_DEVICE void check_alignment(const Wide*) {}
// *to (in global memory) = value, in one access where it has 8 or 16 bytes; nvcc may store the items of a struct one by
// one.
template <typename Wide>
HMEG_DEVICE void store_whole(Wide* to, const Wide& value) {
  if constexpr (sizeof(Wide) == 16) {
    uint4 words;
    __builtin_memcpy(&words, &value, sizeof words);
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(words.x),
                 "r"(words.y), "r"(words.z), "r"(words.w)
                 : "memory");
  } else if constexpr (sizeof(Wide) == 8) {
    uint2 words;
    __builtin_memcpy(&words, &value, sizeof words);
    asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(words.x), "r"(words.y)
                 : "memory");
  } else {
    *to = value;
  }
}

HMEG_DEVICE float exponential(float value) { return expf(value); }
HMEG_DEVICE double exponential(double value) { return exp(value); }
HMEG_DEVICE float square_root(float value) { return sqrtf(value); }
HMEG_DEVICE double square_root(double value) { return sqrt(value); }
HMEG_DEVICE float round_down(float value) { return floorf(value); }
HMEG_DEVICE double round_down(double value) { return floor(value); }
// Rounded to float32 each by itself, whatever stands beside them: what nvcc never fuses.
HMEG_DEVICE float rounded_product(float a, float b) { return __fmul_rn(a, b); }
HMEG_DEVICE float rounded_sum(float a, float b) { return __fadd_rn(a, b); }
HMEG_DEVICE float rounded_root(float value) { return __fsqrt_rn(value); }
HMEG_DEVICE int32_t bits_of(float value) { return __float_as_int(value); }
HMEG_DEVICE float float_of(int32_t bits) { return __int_as_float(bits); }
// max(value, 0), NaN for NaN, in one instruction.
HMEG_DEVICE float positive_part(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float out;
  asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(out) : "f"(value));
  return out;
#else
  return value < 0.0f ? 0.0f : value;
#endif
}
HMEG_DEVICE double positive_part(double value) { return value < 0.0 ? 0.0 : value; }

HMEG_DEVICE float widen(float value) { return value; }
HMEG_DEVICE double widen(double value) { return value; }
HMEG_DEVICE float widen(Half value) { return __half2float(value); }
HMEG_DEVICE float widen(BFloat16 value) { return __bfloat162float(value); }
HMEG_DEVICE void narrow_to(float& out, float value) { out = value; }
HMEG_DEVICE void narrow_to(double& out, double value) { out = value; }
HMEG_DEVICE void narrow_to(Half& out, float value) { out = __float2half_rn(value); }
HMEG_DEVICE void narrow_to(BFloat16& out, float value) { out = __float2bfloat16_rn(value); }

// Runs `kernel` in `blocks` blocks of kBlock threads on `stream`; nullptr, or what CUDA says went wrong.
template <int kBlock, typename... Parameters, typename... Arguments>
const char* launch(void (*kernel)(Parameters...), int64_t blocks, void* stream, Arguments... arguments) {
  static_assert(kBlock % 32 == 0 && kBlock <= 1024, "a block is a whole number of warps");
  if (blocks == 0) return nullptr;
  if (blocks > 0x7fffffff) return "the problem needs more blocks than a CUDA grid has";
  kernel<<<static_cast<unsigned>(blocks), kBlock, 0, static_cast<cudaStream_t>(stream)>>>(arguments...);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace hmeg

#else

#include "emulator.h"

#endif

namespace hmeg {

// The type sums are made in: float32 for everything but float64.
template <typename T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
template <typename T>
using Accumulator = typename AccumulatorOf<T>::type;

template <typename T>
HMEG_DEVICE T narrow(Accumulator<T> value) {
  T out;
  narrow_to(out, value);
  return out;
}

// kCount neighbours that travel in one access.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T items[kCount];
};

template <int kCount, typename T>
HMEG_DEVICE Pack<T, kCount> load_pack(const T* from) {
  const auto* const source = reinterpret_cast<const Pack<T, kCount>*>(from);
  check_alignment(source);
  return *source;
}

template <int kCount, typename T>
HMEG_DEVICE void store_pack(T* to, const Pack<T, kCount>& pack) {
  auto* const target = reinterpret_cast<Pack<T, kCount>*>(to);
  check_alignment(target);
  store_whole(target, pack);
}

// kCount neighbours of an array in shared memory, the first of them at a multiple of kCount.
template <int kCount, typename Array>
HMEG_DEVICE auto load_shared(const Array& array, int first) {
  static_cast<void>(array[first + kCount - 1]);  // in the emulator: is it inside?
  return load_pack<kCount>(&array[first]);
}

// The sum of `value` over the warp, in every lane; always added in the same order.
template <typename A>
HMEG_DEVICE A warp_sum(A value) {
  for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// Sums kCount (a multiple of 32) values over the warp, each in a fixed order: lane l receives the sums of the kCount /
// 32 values from kCount / 32 * l on, as the first of `values`. Takes kCount shuffles where warp_sum would take 5
// kCount.
template <int kCount, typename A>
HMEG_DEVICE void warp_sum_scattered(A (&values)[kCount]) {
  static_assert(kCount % 32 == 0, "every lane receives as many sums");
  const int lane = thread_index() % 32;
  HMEG_UNROLL
  for (int bit = 0; bit < 5; ++bit) {
    const int mask = 16 >> bit, half = kCount >> (bit + 1);
    const bool upper = (lane & mask) != 0;
    HMEG_UNROLL
    for (int k = 0; k < kCount / 2; ++k) {
      if (k < half) {
        const A kept = upper ? values[k + half] : values[k], given = upper ? values[k] : values[k + half];
        values[k] = kept + shuffle_xor(given, mask);
      }
    }
  }
}

// Replaces every values[k] by its sum over the block's threads, in every thread; always added in the same order.
template <int kBlock, int kCount, typename A>
HMEG_DEVICE void block_sum(A (&values)[kCount]) {
  constexpr int kWarps = kBlock / 32;
  HMEG_SHARED(A, partial, kCount * kWarps);
  for (int k = 0; k < kCount; ++k) {
    const A sum = warp_sum(values[k]);
    if (thread_index() % 32 == 0) partial[k * kWarps + thread_index() / 32] = sum;
  }
  sync_block();
  for (int k = 0; k < kCount; ++k) {
    values[k] = A(0);
    for (int warp = 0; warp < kWarps; ++warp) values[k] += partial[k * kWarps + warp];
  }
  sync_block();  // nobody may write `partial` again before everybody has read it
}

// An H100 has 132 multiprocessors; a launch of fewer blocks than this leaves some of them with little to do, and is
// better cut into smaller blocks.
constexpr int64_t kFewBlocks = 264;

// Whether kCount-wide accesses may be used on rows of `width` items that start at `base`.
template <int kCount, typename T>
inline bool packs_fit(const T* base, int64_t width) {
  return width % kCount == 0 && reinterpret_cast<std::uintptr_t>(base) % (sizeof(T) * kCount) == 0;
}

}  // namespace hmeg
