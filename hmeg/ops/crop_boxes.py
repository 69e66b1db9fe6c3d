"""crop_boxes: bilinear crops, each box out of its own expression's image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._checks import Arguments, check_size
from ._library import backend_name, define, differentiate, under_autocast


@under_autocast
def crop_boxes(
    images: Tensor, boxes: Tensor, batch: Tensor, size: tuple[int, int], *, backend: str | None = None
) -> Tensor:
    """Each box cut out of its expression's image and resized.

    images   (N, C, H, W) floating, H and W at least 1
    boxes    (V, 4), of the same type: x0, y0, x1, y1 in units of the image, y down; off-canvas reads as zero
    batch    (V,) int64 in [0, N): the image each box is cut from
    size     (h, w) of a crop, at least 1 each
    returns  (V, C, h, w): bilinear, zero-padded samples at points linear from corner to corner of the box, ends
             included, in the half-pixel convention (torch's grid_sample, align_corners=False)

    Differentiable once, in images and boxes. Inverted boxes give flipped crops, zero-area boxes constant ones.
    Raises ValueError or TypeError for arguments that do not fit, BackendError if ``backend`` cannot run it.
    """
    height, width = check_size("crop_boxes", size)
    arguments = Arguments("crop_boxes")
    arguments.floating("images", images, "N", "C", "H", "W")
    arguments.floating("boxes", boxes, "V", 4)
    arguments.indices("batch", batch, "V")
    if images.shape[2] < 1 or images.shape[3] < 1:
        raise ValueError(f"crop_boxes: images must have at least one row and column, got {tuple(images.shape)}")
    name = backend_name("crop_boxes", (images, boxes, batch), backend)
    result: Tensor = torch.ops.hmeg.crop_boxes(images, boxes, batch, height, width, name)
    return result


def _fake(images: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int, backend: str) -> Tensor:
    return images.new_empty((boxes.shape[0], images.shape[1], height, width))


def _fake_backward(
    grad_crops: Tensor, images: Tensor, boxes: Tensor, batch: Tensor, backend: str
) -> tuple[Tensor, Tensor]:
    return images.new_empty(images.shape), boxes.new_empty(boxes.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    images, boxes, batch, _height, _width, ctx.backend = inputs
    ctx.save_for_backward(images, boxes, batch)


def _backward(ctx: Any, grad_crops: Tensor) -> tuple[Tensor | None, ...]:
    images, boxes, batch = ctx.saved_tensors
    grads = torch.ops.hmeg.crop_boxes_backward(grad_crops, images, boxes, batch, ctx.backend)
    return *grads, None, None, None, None


define(
    "crop_boxes(Tensor images, Tensor boxes, Tensor batch, SymInt height, SymInt width, str backend) -> Tensor", _fake
)
define(
    "crop_boxes_backward(Tensor grad_crops, Tensor images, Tensor boxes, Tensor batch, str backend)"
    " -> (Tensor, Tensor)",
    _fake_backward,
)
differentiate("crop_boxes", _save, _backward)
