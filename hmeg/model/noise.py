"""Noise of one sample: the same whatever the batch the sample falls into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hmeg.ops import normal_noise
from hmeg.streams import KEY_LIMIT, Purpose, stream


def box_noise(num_symbols: int, dim: int, seed: int, index: int) -> np.ndarray:
    """(num_symbols, dim) standard normal float32 for the layout generator, from (seed, index) alone."""
    return stream(seed, index, Purpose.BOXES).standard_normal((num_symbols, dim), dtype=np.float32)


def image_noise(
    channels: int, size: int | tuple[int, int], seed: int, indices: Sequence[int], device: torch.device | str = "cpu"
) -> Tensor:
    """(N, channels, H, W) standard normal float32 for the image model, row i from (seed, indices[i]) alone.

    size  H and W, or both in one; numbers are counted row by row, so another shape has others

    seed and indices in [0, 2**64), else ``ValueError``. Made on ``device`` by :func:`hmeg.ops.normal_noise`, the same
    bits everywhere.
    """
    for index in indices:
        if not 0 <= index < KEY_LIMIT:
            raise ValueError(f"index must be in [0, 2**64), got {index}")
    rows = torch.from_numpy(np.array(indices, dtype=np.uint64).view(np.int64))
    # Not waiting for what the device still does: CUDA has read pageable memory when the call returns.
    rows = rows.to(device, non_blocking=True)
    return normal_noise(rows, seed, (channels, *((size, size) if isinstance(size, int) else size)))
