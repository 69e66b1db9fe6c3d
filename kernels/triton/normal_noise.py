"""normal_noise in Triton: indices (N,) -> noise (N, numbers), float32; docs/kernels.md says what it is.

A program makes some blocks of four numbers of one sample. Kernels are compiled without fusion of products and sums
(NO_FUSION, which every launch has to bring), so numbers are, bit for bit, those of every other backend.
"""

from __future__ import annotations

from torch import Tensor

import triton
import triton.language as tl

from .runtime import kernel

PURPOSE = tl.constexpr(1)  # hmeg.streams.Purpose.IMAGE
NO_FUSION = {"enable_fp_fusion": False}

ROOT_OF_HALF_BITS = tl.constexpr(0x3F3504F3)
LN2_HIGH = tl.constexpr(0.6931381225585938)
LN2_LOW = tl.constexpr(9.0580015e-06)
LOG = tl.constexpr((0.3333333, -0.2500082, 0.20001243, -0.1662341, 0.1420154, -0.1315955, 0.12762485, -0.076369405))
SINE = tl.constexpr((1.5707964, -0.6459666, 0.07971178, -0.0046838736))
COSINE = tl.constexpr((1.0, -1.2337005, 0.25366852, -0.02085525, 0.00089355436))

_CONFIGS = [
    triton.Config({"BLOCKS": 512}, num_warps=4),
    triton.Config({"BLOCKS": 256}, num_warps=4),
    triton.Config({"BLOCKS": 1024}, num_warps=8),
]


@triton.jit
def _horner(x, COEFFICIENTS: tl.constexpr, COUNT: tl.constexpr):
    """The polynomial whose coefficients these are, the lowest first."""
    result = x * COEFFICIENTS[COUNT - 1] + COEFFICIENTS[COUNT - 2]
    for i in tl.static_range(3, COUNT + 1):
        result = result * x + COEFFICIENTS[COUNT - i]
    return result


@triton.jit
def _radius(word):
    """sqrt(-2 ln u) for u = (word + 1/2) / 2**32."""
    # Both terms are exact, so the sum is the one rounding.
    high = (word >> 16).to(tl.int32).to(tl.float32) * (1.0 / 65536)
    low = ((word & 0xFFFF).to(tl.int32).to(tl.float32) + 0.5) * (1.0 / 4294967296)
    bits = (high + low).to(tl.int32, bitcast=True)
    k = (bits - ROOT_OF_HALF_BITS) >> 23
    f = (bits - (k << 23)).to(tl.float32, bitcast=True) - 1.0
    exponent = k.to(tl.float32)
    square = f * f
    tail = f * square * _horner(f, LOG, 8) + exponent * LN2_LOW - square * 0.5
    return tl.sqrt_rn((f + tail + exponent * LN2_HIGH) * -2.0)


@triton.jit
def _direction(word):
    """Cosine and sine of 2 pi word / 2**32: a quarter turn a number of times, and at most an eighth on either side."""
    turned = word + 0x20000000
    quarter = (turned >> 30).to(tl.int32)
    x = ((turned & 0x3FFFFFFF).to(tl.int32) - 0x20000000).to(tl.float32) * (1.0 / 1073741824)
    square = x * x
    sine = _horner(square, SINE, 4) * x
    cosine = _horner(square, COSINE, 5)
    swapped = (quarter & 1) == 1
    across = tl.where(swapped, sine, cosine)
    up = tl.where(swapped, cosine, sine)
    return tl.where((quarter == 1) | (quarter == 2), -across, across), tl.where(quarter >= 2, -up, up)


@kernel(_CONFIGS, key=[])
@triton.jit(do_not_specialize=["seed"])
def normal_noise_kernel(indices, noise, numbers, seed, BLOCKS: tl.constexpr):
    tiles = tl.cdiv(numbers, BLOCKS * 4)
    sample = (tl.program_id(0) // tiles).to(tl.int64)
    first = (tl.program_id(0) % tiles).to(tl.int64) * BLOCKS
    index = tl.load(indices + sample)
    block = (first + tl.arange(0, BLOCKS)).to(tl.uint32)
    zero = block * 0
    low = index.to(tl.uint32) + zero
    high = (index >> 32).to(tl.uint32) + zero
    w0, w1, w2, w3 = tl.philox(seed, block, zero + PURPOSE, low, high)
    cosine0, sine0 = _direction(w1)
    cosine2, sine2 = _direction(w3)
    radius0 = _radius(w0)
    radius2 = _radius(w2)
    even = tl.interleave(radius0 * cosine0, radius2 * cosine2)
    odd = tl.interleave(radius0 * sine0, radius2 * sine2)
    places = first * 4 + tl.arange(0, BLOCKS * 4)
    tl.store(noise + sample * numbers + places, tl.interleave(even, odd), mask=places < numbers)


def normal_noise(indices: Tensor, noise: Tensor, seed: int) -> None:
    """Fills noise (N, *) float32 of the samples ``indices`` (N,); both contiguous. seed: the bits, as an int64."""
    samples = len(indices)
    if noise.numel():
        numbers = noise.numel() // samples
        normal_noise_kernel[lambda meta: (samples * triton.cdiv(numbers, meta["BLOCKS"] * 4),)](
            indices, noise, numbers, seed, **NO_FUSION
        )
