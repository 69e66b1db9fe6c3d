"""Textbook compose_layout: every symbol's mask times its feature vector, summed per expression."""

from __future__ import annotations

from torch import Tensor


def compose_layout(masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """masks (V, 1, H, W), features (V, C), batch (V,) -> layout (N, C, H, W)."""
    painted = masks * features[:, :, None, None]
    return painted.new_zeros((num_graphs, *painted.shape[1:])).index_add(0, batch, painted)
