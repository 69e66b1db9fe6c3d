"""normal_noise: standard normal numbers that depend on seed, sample and position alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from ._checks import Arguments, check_count
from ._library import backend_name, define, under_autocast

SEED_LIMIT = 1 << 64
NUMBERS_LIMIT = 1 << 34  # of a sample: 2**32 blocks of four


@under_autocast
def normal_noise(indices: Tensor, seed: int, shape: Sequence[int], *, backend: str | None = None) -> Tensor:
    """Standard normal numbers made on the device of ``indices``; the same bits on every backend and device.

    indices  (N,) int64: which sample each row is. An index of 2**63 and more is given by its bits, index - 2**64
    seed     in [0, 2**64)
    shape    of a sample, at most 2**34 numbers
    returns  (N, *shape) float32. Row i depends on (seed, indices[i]) alone, and its first numbers, in C order, not on
             how many follow.

    The definition. Numbers 4 b to 4 b + 3 of a sample come from the words w0, w1, w2, w3 that Philox4x32-10 (Salmon,
    Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011) gives for the key (low and high word of
    the seed) and the counter (b, 1, low and high word of the index), where 1 is ``hmeg.streams.Purpose.IMAGE``. They
    are r cos a, r sin a of (w0, w1) and of (w2, w3): for a pair (w, v), r = sqrt(-2 ln u) with
    u = (w + 1/2) / 2**32 rounded to float32, hence from 2**-33 to 1, and a = 2 pi v / 2**32. Logarithm, cosine and sine
    are polynomials in float32, made of additions, multiplications and square roots each rounded by itself
    (docs/kernels.md); a number is within 2e-7 r of what the definition gives in real numbers.

    Not differentiable: there is nothing floating to differentiate in.
    Raises ValueError or TypeError for arguments that do not fit, BackendError if ``backend`` cannot run it.
    """
    Arguments("normal_noise").indices("indices", indices, "N")
    check_count("normal_noise", "seed", seed)
    if seed >= SEED_LIMIT:
        raise ValueError(f"normal_noise: seed must be in [0, 2**64), got {seed}")
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"normal_noise: shape must be a tuple of integers, got {type(shape).__name__}")
    for side in shape:
        check_count("normal_noise", "every side of shape", side)
    if prod(shape) > NUMBERS_LIMIT:
        raise ValueError(f"normal_noise: a sample has at most 2**34 numbers, got shape {tuple(shape)}")
    name = backend_name("normal_noise", (indices,), backend)
    bits = seed - SEED_LIMIT if seed >= SEED_LIMIT // 2 else seed
    result: Tensor = torch.ops.hmeg.normal_noise(indices, bits, shape, name)
    return result


def _fake(indices: Tensor, seed: int, shape: Sequence[int], backend: str) -> Tensor:
    return indices.new_empty((indices.shape[0], *shape), dtype=torch.float32)


define("normal_noise(Tensor indices, SymInt seed, SymInt[] shape, str backend) -> Tensor", _fake)
