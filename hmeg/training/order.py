"""Which expressions a step is about and what is random in it: functions of (seed, step), never of a running state.

So a run that is resumed from its checkpoint goes on as if it had not stopped, and several processes agree without
talking to each other.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What random numbers of a step are for; streams of different purposes are independent."""

    LAYOUT = 0
    WINDOWS = 1
    IMAGE_NOISE = 2
    FAKES = 3
    SYMBOLS = 4
    GLYPHS = 5


def batch_indices(size: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Rows of step ``step``: epochs are permutations drawn from (seed, epoch); the incomplete last batch is dropped.

    A data set smaller than a batch is used whole at every step.
    """
    per_epoch = max(1, size // batch_size)
    epoch, position = divmod(step, per_epoch)
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(size)
    return order[position * batch_size : (position + 1) * batch_size]


def random_rows(size: int, count: int, step: int, seed: int) -> np.ndarray:
    """``count`` independent random rows for a step."""
    bits = np.random.SeedSequence([seed, step, int(Purpose.FAKES)])
    return np.random.default_rng(bits).integers(0, size, count)


def step_generator(seed: int, step: int, device: str, purpose: Purpose, index: int = 0) -> torch.Generator:
    """The random generator of one purpose in one step (of its expression ``index``, where each has its own)."""
    mixed = np.random.SeedSequence([seed, step, int(purpose), index]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(mixed[0]) << 31 ^ int(mixed[1]))
