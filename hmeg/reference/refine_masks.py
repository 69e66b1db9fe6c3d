"""Textbook refine_masks: coordinate ramps through conv, ReLU, BatchNorm, conv, sigmoid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from .weights import MaskWeights


def coordinate_ramps(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(V, 4) boxes -> (V, 4, H, W): 2 (X - x0, Y - y0, X - x1, Y - y1) - 1."""
    height, width = size
    grid_x = torch.linspace(0, 1, width, dtype=boxes.dtype, device=boxes.device)
    grid_y = torch.linspace(0, 1, height, dtype=boxes.dtype, device=boxes.device)
    x0, y0, x1, y1 = (b[:, None, None] for b in boxes.unbind(1))
    across, down = grid_x[None, None, :], grid_y[None, :, None]
    ramps = torch.broadcast_tensors(across - x0, down - y0, across - x1, down - y1)
    return 2 * torch.stack(ramps, dim=1) - 1


def refine_masks(
    boxes: Tensor,
    weights: MaskWeights,
    size: tuple[int, int],
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(V, 4) boxes -> (V, 1, H, W) masks in (0, 1). In training mode the running statistics are updated in place."""
    if not len(boxes):
        return boxes.new_zeros((0, 1, *size)) + 0 * boxes.sum()
    hidden = F.relu(F.conv2d(coordinate_ramps(boxes, size), weights.conv1_weight, weights.conv1_bias, padding=1))
    if training:
        # As torch's BatchNorm, whose own sums lose digits that the tests ask for in float64.
        mean = hidden.mean((0, 2, 3))
        var = (hidden - mean[:, None, None]).square().mean((0, 2, 3))
        values = hidden.numel() // max(1, hidden.shape[1])
        with torch.no_grad():
            weights.running_mean.lerp_(mean, momentum)
            weights.running_var.lerp_(var * (values / (values - 1)), momentum)
    else:
        mean, var = weights.running_mean, weights.running_var
    scale, shift, mean = (t[:, None, None] for t in (weights.bn_weight / (var + eps).sqrt(), weights.bn_bias, mean))
    hidden = (hidden - mean) * scale + shift
    return torch.sigmoid(F.conv2d(hidden, weights.conv2_weight, weights.conv2_bias, padding=1))
