"""Textbook normal_noise: standard normal numbers out of a counter, each operation rounded to float32 by itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

PURPOSE = 1  # hmeg.streams.Purpose.IMAGE

_WORD = 0xFFFFFFFF
_ROUNDS = 10
_FACTORS = 0xD2511F53, 0xCD9E8D57
_KEY_GROWTH = 0x9E3779B9, 0xBB67AE85

# Fitted in double precision for the least largest error, the lowest coefficient first: each is rounded to float32 and
# the others are fitted anew. Errors of the polynomials themselves: 6e-9 of ln, 3e-8 of the sine, 4e-10 of the cosine.
_LN2_HIGH, _LN2_LOW = 0.6931381225585938, 9.0580015e-06  # k times the first is exact
_LOG = (0.3333333, -0.2500082, 0.20001243, -0.1662341, 0.1420154, -0.1315955, 0.12762485, -0.076369405)
_SINE = (1.5707964, -0.6459666, 0.07971178, -0.0046838736)
_COSINE = (1.0, -1.2337005, 0.25366852, -0.02085525, 0.00089355436)


def normal_noise(indices: Tensor, seed: int, shape: Sequence[int]) -> Tensor:
    """(N,) int64 indices, the bits of a seed -> (N, *shape) float32, as :func:`hmeg.ops.normal_noise` defines them."""
    numbers = prod(shape)
    block = torch.arange(-(-numbers // 4), device=indices.device)[None, :]
    low, high = indices[:, None] & _WORD, indices[:, None] >> 32 & _WORD
    zero = torch.zeros_like(block + low)
    counter = [block + zero, zero + PURPOSE, low + zero, high + zero]
    words = philox(counter, (seed & _WORD, seed >> 32 & _WORD))
    normals = [normal for u, v in (words[:2], words[2:]) for normal in _box_muller(u, v)]
    return torch.stack(normals, dim=2).flatten(1)[:, :numbers].reshape(len(indices), *shape)


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Philox4x32-10 of four words of a counter and two of a key, each in [0, 2**32): four words, int64 too."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p2 = c0 * _FACTORS[0], c2 * _FACTORS[1]  # may wrap to negative numbers: the bits are right
        c0, c1, c2, c3 = (p2 >> 32 & _WORD) ^ c1 ^ k0, p2 & _WORD, (p0 >> 32 & _WORD) ^ c3 ^ k1, p0 & _WORD
        k0, k1 = (k0 + _KEY_GROWTH[0]) & _WORD, (k1 + _KEY_GROWTH[1]) & _WORD
    return [c0, c1, c2, c3]


def _box_muller(radius_word: Tensor, angle_word: Tensor) -> tuple[Tensor, Tensor]:
    radius, (cosine, sine) = _radius(radius_word), _direction(angle_word)
    return radius * cosine, radius * sine


def _radius(word: Tensor) -> Tensor:
    """sqrt(-2 ln u) of u = (word + 1/2) / 2**32, rounded to float32."""
    u = ((word.double() + 0.5) * 2.0**-32).float()
    bits = u.view(torch.int32)
    k = (bits - 0x3F3504F3) >> 23  # u = 2**k m, m in [sqrt(1/2), sqrt(2)): those are the root's bits
    f = (bits - (k << 23)).view(torch.float32) - 1
    exponent, square = k.float(), f * f
    rest = f * square * _horner(_LOG, f) + exponent * _LN2_LOW - square * 0.5
    logarithm = f + rest + exponent * _LN2_HIGH
    # The double's square root, rounded, is the correctly rounded one of float32, whatever library torch asks for roots.
    return (logarithm * -2).double().sqrt().float()


def _direction(word: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of 2 pi word / 2**32: of some quarters of a turn, and of x in [-1/2, 1/2) of one."""
    turned = (word + 2**29) & _WORD
    quarter, x = turned >> 30, ((turned & 0x3FFFFFFF) - 2**29).float() * 2.0**-30
    sine, cosine = x * _horner(_SINE, x * x), _horner(_COSINE, x * x)
    swapped = quarter % 2 == 1
    across, up = torch.where(swapped, sine, cosine), torch.where(swapped, cosine, sine)
    return torch.where((quarter == 1) | (quarter == 2), -across, across), torch.where(quarter >= 2, -up, up)


def _horner(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """Coefficients from the lowest on; every product and every sum rounded."""
    result = x * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        result = result * x + coefficient
    return result
