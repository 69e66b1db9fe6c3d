"""How well boxes agree."""

from __future__ import annotations

import torch
from torch import Tensor


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """(V, 4) and (V, 4) boxes (x0, y0, x1, y1) -> (V,) intersection over union of corresponding boxes, in [0, 1].

    Inverted boxes have no area; where the union has none either, the result is 0. Differentiable.
    """
    if a.shape != b.shape or a.dim() != 2 or a.shape[1] != 4:
        raise ValueError(f"boxes must both be (V, 4), got {tuple(a.shape)} and {tuple(b.shape)}")
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    union = _area(a) + _area(b) - common
    return torch.where(union > 0, common / torch.where(union > 0, union, 1), 0)


def jaccard_sum(a: Tensor, b: Tensor) -> Tensor:
    """Sum of :func:`box_iou` over all boxes (the published layout measure, before division by their number)."""
    return box_iou(a, b).sum()


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
