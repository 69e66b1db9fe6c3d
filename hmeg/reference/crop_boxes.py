"""Textbook crop_boxes: differentiable bilinear crops, each box out of its own image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_boxes(images: Tensor, boxes: Tensor, batch: Tensor, size: tuple[int, int]) -> Tensor:
    """images (N, C, H, W), boxes (V, 4), batch (V,) -> crops (V, C, h, w).

    The sampling grid is linear from corner to corner of the box, ends included; torch's grid_sample with zero
    padding and align_corners=False reads it.
    """
    height, width = size
    x0, y0, x1, y1 = (2 * b - 1 for b in boxes.unbind(1))
    along_x = torch.linspace(0, 1, width, dtype=boxes.dtype, device=boxes.device)
    along_y = torch.linspace(0, 1, height, dtype=boxes.dtype, device=boxes.device)
    grid_x = x0[:, None] * (1 - along_x) + x1[:, None] * along_x
    grid_y = y0[:, None] * (1 - along_y) + y1[:, None] * along_y
    grid = torch.stack(
        torch.broadcast_tensors(grid_x[:, None, :], grid_y[:, :, None]),
        dim=-1,
    )
    return F.grid_sample(images[batch], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
