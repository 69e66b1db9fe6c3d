"""Boxes for the operators' tests; all float64, (V, 4): x0, y0, x1, y1."""

from __future__ import annotations

import torch
from torch import Tensor


def ordinary(count: int, seed: int = 0) -> Tensor:
    """Boxes of symbol-like sizes inside the image."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.rand(count, 2, 2, generator=generator, dtype=torch.float64)
    sides = 0.05 + 0.4 * ends[:, 0]
    low = ends[:, 1] * (1 - sides)
    return torch.cat([low, low + sides], dim=1)


def degenerate() -> Tensor:
    """Zero-area, inverted, tiny, huge and off-canvas boxes; no NaN."""
    return torch.tensor(
        [
            [0.3, 0.4, 0.3, 0.4],  # a point
            [0.0, 0.0, 0.0, 0.0],  # a point on the grid
            [0.2, 0.4, 0.7, 0.4],  # no height
            [0.4, 0.21, 0.4, 0.73],  # no width
            [0.3, 0.4, 0.3 + 1e-7, 0.6],  # narrower than anything counts
            [0.3, 0.4, 0.3 + 1e-5, 0.6],  # narrower than a grid spacing
            [0.71, 0.52, 0.23, 0.13],  # inverted
            [0.13, 0.83, 0.57, 0.31],  # inverted in y
            [-0.31, -0.23, 0.41, 0.37],  # partly off-canvas
            [0.61, 0.71, 1.37, 1.23],  # partly off-canvas
            [1.51, 1.53, 1.91, 1.97],  # off-canvas
            [-5.0, 0.1, -4.0, 0.3],  # far off-canvas
            [-7.3, -9.1, 8.7, 11.9],  # larger than the canvas
            [0.0, 0.0, 1.0, 1.0],  # the canvas
        ],
        dtype=torch.float64,
    )


def batch_of(count: int, graphs: int) -> Tensor:
    """(V,) int64, non-decreasing, of ``graphs`` expressions; the last but one has no symbols."""
    owners = [g for g in range(graphs) if g != graphs - 2 or graphs < 3]
    return torch.tensor([owners[i * len(owners) // count] for i in range(count)], dtype=torch.int64)
