"""box_soft_mask: the fixed soft indicator of a box."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._checks import Arguments, check_size
from ._library import backend_name, define, differentiate, under_autocast


@under_autocast
def box_soft_mask(boxes: Tensor, size: tuple[int, int], *, backend: str | None = None) -> Tensor:
    """Soft masks in [0, 1] of boxes, on a grid of points from corner to corner of the image.

    boxes    (V, 4) floating: x0, y0, x1, y1 in units of the image, y down; anything outside [0, 1] is off-canvas
    size     (H, W), at least 1 each; the grid points are x = j / (W - 1), y = i / (H - 1)
    returns  (V, 1, H, W), r(t) r(u) with t = (x - x0) / (x1 - x0), u likewise in y, and
             r(t) = clamp(min(8t + 1/2, 17/2 - 8t), 0, 1): bilinear, zero-padded, half-pixel sampling of an 8 x 8 image
             of ones stretched over the box

    Differentiable once, in boxes. Inverted boxes count as sorted; a box with a side under 1e-6 gives zeros and no
    gradient through that side; a box with a NaN gives NaN for that symbol only.
    Raises ValueError or TypeError for arguments that do not fit, BackendError if ``backend`` cannot run it.
    """
    height, width = check_size("box_soft_mask", size)
    Arguments("box_soft_mask").floating("boxes", boxes, "V", 4)
    name = backend_name("box_soft_mask", (boxes,), backend)
    result: Tensor = torch.ops.hmeg.box_soft_mask(boxes, height, width, name)
    return result


def _fake(boxes: Tensor, height: int, width: int, backend: str) -> Tensor:
    return boxes.new_empty((boxes.shape[0], 1, height, width))


def _fake_backward(grad_masks: Tensor, boxes: Tensor, backend: str) -> Tensor:
    return boxes.new_empty(boxes.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    boxes, _height, _width, ctx.backend = inputs
    ctx.save_for_backward(boxes)


def _backward(ctx: Any, grad_masks: Tensor) -> tuple[Tensor | None, ...]:
    (boxes,) = ctx.saved_tensors
    return torch.ops.hmeg.box_soft_mask_backward(grad_masks, boxes, ctx.backend), None, None, None


define("box_soft_mask(Tensor boxes, SymInt height, SymInt width, str backend) -> Tensor", _fake)
define("box_soft_mask_backward(Tensor grad_masks, Tensor boxes, str backend) -> Tensor", _fake_backward)
differentiate("box_soft_mask", _save, _backward)
