"""Counter-based random streams: what is drawn depends on (seed, index, purpose) alone, never on who else is drawing."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

KEY_LIMIT = 1 << 64


class Purpose(IntEnum):
    """What a stream is used for. The numbers are part of every sample: changing one changes every image."""

    BOXES = 0
    IMAGE = 1
    EXPRESSION = 2
    VARIATION = 3
    OPEN_EXPRESSION = 4
    EVALUATION = 16


def stream(seed: int, index: int, purpose: Purpose) -> np.random.Generator:
    """The random stream of (seed, index, purpose): Philox 4x64 with key (seed, index) and the purpose in the counter.

    seed and index lie in [0, 2**64), else ``ValueError``. Streams of different triples never overlap: the purpose is
    the highest of the counter's four words, which only 2**192 blocks of draws would reach from below.
    """
    for name, value in (("seed", seed), ("index", index)):
        if not 0 <= value < KEY_LIMIT:
            raise ValueError(f"{name} must be in [0, 2**64), got {value}")
    key = np.array([seed, index], dtype=np.uint64)
    counter = np.array([0, 0, 0, int(purpose)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
