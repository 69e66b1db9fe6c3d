"""Textbook box_layout: compose_layout of the fixed soft masks."""

from __future__ import annotations

from torch import Tensor

from .box_soft_mask import box_soft_mask
from .compose_layout import compose_layout


def box_layout(features: Tensor, boxes: Tensor, batch: Tensor, size: tuple[int, int], num_graphs: int) -> Tensor:
    """features (V, C), boxes (V, 4), batch (V,) -> layout (N, C, H, W)."""
    return compose_layout(box_soft_mask(boxes, size), features, batch, num_graphs)
