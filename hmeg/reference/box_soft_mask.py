"""Textbook box_soft_mask: the fixed soft indicator of a box (design: operators)."""

from __future__ import annotations

import torch
from torch import Tensor

# A side shorter than this fraction of the image encloses nothing. Far below any raster's grid spacing, and far enough
# from zero for 8 / side, the steepest slope, to be an ordinary number in every type.
MIN_SIDE = 1e-6


def _ramp(t: Tensor) -> Tensor:
    return torch.minimum(8 * t + 0.5, 8.5 - 8 * t).clamp(0, 1)


def ramp_along(low: Tensor, high: Tensor, count: int) -> Tensor:
    """(V,) ends of a side -> (V, count): r(t) at the grid points, 0 for a side that encloses nothing."""
    grid = torch.linspace(0, 1, count, dtype=low.dtype, device=low.device)
    side = high - low
    nothing = side.abs() < MIN_SIDE
    t = (grid[None, :] - low[:, None]) / side.masked_fill(nothing, 1)[:, None]
    return _ramp(t).masked_fill(nothing[:, None], 0)


def box_soft_mask(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(V, 4) boxes -> (V, 1, H, W) mask, r(t) r(u) with r(t) = clamp(min(8t + 1/2, 17/2 - 8t), 0, 1).

    An inverted box (x1 < x0 or y1 < y0) gives the mask of the same box with its ends in order. A box with a side
    shorter than MIN_SIDE, zero-area ones among them, gives zeros, and no gradient through that side.
    """
    height, width = size
    x0, y0, x1, y1 = boxes.unbind(1)
    return (ramp_along(y0, y1, height)[:, :, None] * ramp_along(x0, x1, width)[:, None, :])[:, None]
