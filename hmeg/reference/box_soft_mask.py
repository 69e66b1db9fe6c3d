"""Textbook box_soft_mask: the fixed soft indicator of a box (design: operators)."""

from __future__ import annotations

import torch
from torch import Tensor


def _ramp(t: Tensor) -> Tensor:
    return torch.minimum(8 * t + 0.5, 8.5 - 8 * t).clamp(0, 1)


def box_soft_mask(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(V, 4) boxes -> (V, 1, H, W) mask, r(t) r(u) with r(t) = clamp(min(8t + 1/2, 17/2 - 8t), 0, 1)."""
    height, width = size
    grid_x = torch.linspace(0, 1, width, dtype=boxes.dtype, device=boxes.device)
    grid_y = torch.linspace(0, 1, height, dtype=boxes.dtype, device=boxes.device)
    x0, y0, x1, y1 = boxes.unbind(1)
    t = (grid_x[None, :] - x0[:, None]) / (x1 - x0)[:, None]
    u = (grid_y[None, :] - y0[:, None]) / (y1 - y0)[:, None]
    return (_ramp(u)[:, :, None] * _ramp(t)[:, None, :])[:, None]
