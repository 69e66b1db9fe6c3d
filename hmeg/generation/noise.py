"""Noise of one sample: the same whatever the batch the sample falls into."""

from __future__ import annotations

import numpy as np

from hmeg.streams import Purpose, stream


def box_noise(num_symbols: int, dim: int, seed: int, index: int) -> np.ndarray:
    """(num_symbols, dim) standard normal float32 for the layout generator, from (seed, index) alone."""
    return stream(seed, index, Purpose.BOXES).standard_normal((num_symbols, dim), dtype=np.float32)


def image_noise(channels: int, size: int, seed: int, index: int) -> np.ndarray:
    """(channels, size, size) standard normal float32 for the image model, from (seed, index) alone."""
    return stream(seed, index, Purpose.IMAGE).standard_normal((channels, size, size), dtype=np.float32)
