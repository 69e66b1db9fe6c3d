"""Textbook refine_layout: compose_layout of the learned soft masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from .compose_layout import compose_layout
from .refine_masks import refine_masks

if TYPE_CHECKING:
    from .weights import MaskWeights


def refine_layout(
    boxes: Tensor,
    weights: MaskWeights,
    features: Tensor,
    batch: Tensor,
    size: tuple[int, int],
    num_graphs: int,
    eps: float = 1e-5,
) -> Tensor:
    """boxes (V, 4), features (V, C), batch (V,) -> layout (N, C, H, W), from running statistics."""
    return compose_layout(refine_masks(boxes, weights, size, eps=eps), features, batch, num_graphs)
