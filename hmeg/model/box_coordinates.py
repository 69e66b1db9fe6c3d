"""Layout channels that tell every pixel where in its box it lies (our own extension of the published model).

The published layout says which symbol a pixel belongs to, but where in the symbol only through what convolutions can
infer from the mask's edges. Narrow decoders cannot, so ``config.image.box_coordinates`` adds five channels.
With m_v the fixed soft mask of symbol v (``ops.box_soft_mask``: exactly zero outside the box, so that coordinates stay
in [-1.25, 1.25]), X and Y as everywhere (j / (W - 1), i / (H - 1)), w and h the sides of its box:

    cover = sum m_v
    t     = sum m_v (2 (X - x0_v) / w_v - 1)
    u     = sum m_v (2 (Y - y0_v) / h_v - 1)
    sum m_v log w_v,   sum m_v log h_v

Sides below 1/64 count as 1/64, about the box's centre. Composed at the masks' size and interpolated linearly from
there. Unlike the published masks, which put the outer grid points on the image's border, these channels are sampled at
pixel centres, (j + 1/2) / W, so that they look the same wherever in the image a symbol stands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hmeg import ops

SMALLEST_SIDE = 1 / 64
NUM_FEATURES = 7  # what box_features gives per symbol


def box_features(boxes: Tensor) -> Tensor:
    """boxes (V, 4) -> (V, 7): 1, slope and shift of t, slope and shift of u, log w, log h. Differentiable.

    t and u are affine in X and Y, so composing these features like any others is enough to have them.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    side = (high - low).clamp(min=SMALLEST_SIDE)
    start = (low + high - side) / 2
    (slope_x, slope_y), (shift_x, shift_y) = (2 / side).unbind(1), (-2 * start / side - 1).unbind(1)
    log_w, log_h = side.log().unbind(1)
    return torch.stack([torch.ones_like(slope_x), slope_x, shift_x, slope_y, shift_y, log_w, log_h], dim=1)


def coordinate_channels(composed: Tensor) -> Tensor:
    """Composed features (N, 7, H, W) -> (N, 5, H, W): cover, t, u, log w, log h, each summed under the masks."""
    height, width = composed.shape[2:]
    cover, slope_x, shift_x, slope_y, shift_y, log_w, log_h = composed.unbind(1)
    across = torch.linspace(0, 1, width, dtype=composed.dtype, device=composed.device)
    down = torch.linspace(0, 1, height, dtype=composed.dtype, device=composed.device)[:, None]
    return torch.stack([cover, slope_x * across + shift_x, slope_y * down + shift_y, log_w, log_h], dim=1)


def compose_in_boxes(
    symbol_vectors: Tensor | None,
    boxes: Tensor,
    batch: Tensor,
    size: int,
    num_graphs: int,
    cells: tuple[int, int] | None = None,
) -> Tensor:
    """The coordinate channels, then symbol_vectors (V, S) under the same fixed masks.

    boxes (V, 4) -> (N, 5 + S, size, size), or (N, 5 + S, rows, columns) for ``cells``; boxes are in units of ``size``
    cells either way. Differentiable in boxes and vectors.
    """
    if cells is not None:
        return _on_canvas(symbol_vectors, boxes, batch, size, num_graphs, cells)
    # Operators sample at j / (size - 1); in these boxes' frame that is the pixel centre (j + 1/2) / size.
    boxes = (boxes * size - 0.5) / (size - 1)
    features = box_features(boxes)
    if symbol_vectors is not None:
        features = torch.cat([features, symbol_vectors], dim=1)
    composed = ops.box_layout(features, boxes, batch, (size, size), num_graphs)
    return torch.cat([coordinate_channels(composed[:, :NUM_FEATURES]), composed[:, NUM_FEATURES:]], dim=1)


def _on_canvas(
    symbol_vectors: Tensor | None, boxes: Tensor, batch: Tensor, size: int, num_graphs: int, cells: tuple[int, int]
) -> Tensor:
    """The same on a canvas of any shape: sides and their logarithms are those of boxes in a square of ``size`` cells.

    Boxes longer than that square, which training has none of, count as that long in the logarithms.
    """
    last = boxes.new_tensor([max(cells[1] - 1, 1), max(cells[0] - 1, 1)] * 2)
    placed = (boxes * size - 0.5) / last
    low, high = placed[:, :2], placed[:, 2:]
    side = torch.maximum(high - low, SMALLEST_SIDE * (size - 1) / last[:2])
    start = (low + high - side) / 2
    logs = (side * last[:2] / (size - 1)).clamp(max=1).log()
    (slope_x, slope_y), (shift_x, shift_y) = (2 / side).unbind(1), (-2 * start / side - 1).unbind(1)
    features = torch.stack([torch.ones_like(slope_x), slope_x, shift_x, slope_y, shift_y, *logs.unbind(1)], dim=1)
    if symbol_vectors is not None:
        features = torch.cat([features, symbol_vectors], dim=1)
    composed = ops.box_layout(features, placed, batch, cells, num_graphs)
    return torch.cat([coordinate_channels(composed[:, :NUM_FEATURES]), composed[:, NUM_FEATURES:]], dim=1)
