"""Layout channels that tell every pixel where in its box it lies (our own extension of the published model).

The published layout says which symbol a pixel belongs to, but where in the symbol only through what convolutions can
infer from the mask's edges. Narrow decoders cannot, so ``ModelConfig.box_coordinates`` adds five channels.
With m_v the mask of symbol v, X and Y as everywhere (j / (W - 1), i / (H - 1)), w and h the sides of its box:

    cover = sum m_v
    t     = sum m_v (X - x0_v) / w_v
    u     = sum m_v (Y - y0_v) / h_v
    sum m_v log w_v,   sum m_v log h_v

Sides below 1/64 count as 1/64, about the box's centre: t and u stay in about [0, 1] inside any box.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_SIDE = 1 / 64
NUM_FEATURES = 7  # what box_features gives per symbol
NUM_CHANNELS = 5  # what coordinate_channels makes of them


def box_features(boxes: Tensor) -> Tensor:
    """boxes (V, 4) -> (V, 7): 1, 1/w, -x0/w, 1/h, -y0/h, log w, log h. Differentiable.

    t and u are affine in X and Y, so composing these features like any others is enough to have them.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    side = (high - low).clamp(min=SMALLEST_SIDE)
    start = (low + high - side) / 2
    (slope_x, slope_y), (shift_x, shift_y) = (1 / side).unbind(1), (-start / side).unbind(1)
    log_w, log_h = side.log().unbind(1)
    return torch.stack([torch.ones_like(slope_x), slope_x, shift_x, slope_y, shift_y, log_w, log_h], dim=1)


def coordinate_channels(composed: Tensor) -> Tensor:
    """Composed features (N, 7, H, W) -> (N, 5, H, W): cover, t, u, log w, log h, each summed under the masks."""
    height, width = composed.shape[2:]
    cover, slope_x, shift_x, slope_y, shift_y, log_w, log_h = composed.unbind(1)
    across = torch.linspace(0, 1, width, dtype=composed.dtype, device=composed.device)
    down = torch.linspace(0, 1, height, dtype=composed.dtype, device=composed.device)[:, None]
    return torch.stack([cover, slope_x * across + shift_x, slope_y * down + shift_y, log_w, log_h], dim=1)
