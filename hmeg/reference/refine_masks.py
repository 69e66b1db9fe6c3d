"""Textbook refine_masks: coordinate ramps through conv, ReLU, BatchNorm, conv, sigmoid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from hmeg.ops.weights import MaskWeights


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
    hidden = F.batch_norm(
        hidden,
        weights.running_mean,
        weights.running_var,
        weights.bn_weight,
        weights.bn_bias,
        training=training,
        momentum=momentum,
        eps=eps,
    )
    return torch.sigmoid(F.conv2d(hidden, weights.conv2_weight, weights.conv2_bias, padding=1))
