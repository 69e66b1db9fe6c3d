// The kernels' only gateway to a device. Under nvcc it is CUDA; under g++ it is the emulator in tests/emulation, where
// every device thread is a fiber. docs/kernels.md has the rules that keep one source good for both.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define HMEG_KERNEL __global__ void
#define HMEG_DEVICE __device__ __forceinline__
// An array of `count` (a compile-time constant) T in shared memory, one per block.
#define HMEG_SHARED(T, name, count) __shared__ T name[count]

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
template <typename Wide>
HMEG_DEVICE void check_alignment(const Wide*) {}

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
  *target = pack;
}

// The sum of `value` over the warp, in every lane; always added in the same order.
template <typename A>
HMEG_DEVICE A warp_sum(A value) {
  for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
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

// Whether kCount-wide accesses may be used on rows of `width` items that start at `base`.
template <int kCount, typename T>
inline bool packs_fit(const T* base, int64_t width) {
  return width % kCount == 0 && reinterpret_cast<std::uintptr_t>(base) % (sizeof(T) * kCount) == 0;
}

}  // namespace hmeg
