"""What a test of threads does in a process of its own."""

from __future__ import annotations

import numpy as np
import torch

from hmeg import ops


def masks_on_threads(threads: int) -> bytes:
    """Masks made on that many threads: torch's, or in a fork of a process that used those, some of our own."""
    torch.set_num_threads(threads)
    boxes = torch.from_numpy(np.random.RandomState(0).rand(64, 4))
    return ops.box_soft_mask(boxes, (64, 64), backend="cpu").numpy().tobytes()
