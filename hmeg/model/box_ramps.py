"""Masks' ingredients in plain PyTorch, for where operators do not serve.

Exported graphs consist of standard operators, and masks that train on several processes need their hidden values. Both
compute what :func:`hmeg.ops.box_soft_mask` and :func:`hmeg.ops.refine_masks` compute, from these. With S points on a
side, X_j = Y_j = j / (S - 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

_SHORTEST = 1e-6  # a shorter side encloses nothing, as hmeg.ops.box_soft_mask has it


def soft_sides(low: Tensor, high: Tensor, size: int) -> Tensor:
    """One factor of the fixed soft mask: sides from ``low`` to ``high``, (V,) each -> (V, size) in [0, 1].

    1 inside, falling to 0 over an eighth of the side about either end; the ends may be in either order. 0 for a side
    that encloses nothing. The mask of a box is the product of a column of the one and a row of the other axis.
    Differentiable.
    """
    points = torch.linspace(0, 1, size, dtype=low.dtype, device=low.device)
    length = (high - low)[:, None]
    flat = length.abs() < _SHORTEST
    along = (points - low[:, None]) / torch.where(flat, torch.ones_like(length), length)
    return (4.5 - (8 * along - 4).abs()).clamp(0, 1).masked_fill(flat, 0)


def edge_distances(boxes: Tensor, size: int) -> Tensor:
    """What the mask refiner's first convolution reads: boxes (V, 4) -> (V, 4, size, size).

    Channels are 2 d - 1 with d the signed distance of every point from the box's left, upper, right and lower edge.
    Differentiable.
    """
    points = torch.linspace(0, 1, size, dtype=boxes.dtype, device=boxes.device)
    across, down = points.expand(size, size), points[:, None].expand(size, size)
    return 2 * (torch.stack([across, down, across, down]) - boxes[:, :, None, None]) - 1
