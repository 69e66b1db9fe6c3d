"""refine_masks: the learned soft mask of a box."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hmeg.reference.weights import MaskWeights

from ._checks import Arguments, check_size
from ._library import backend_name, define, differentiate, under_autocast


def refine_masks(
    boxes: Tensor, weights: MaskWeights, size: tuple[int, int], training: bool = False, *,
    momentum: float = 0.1, eps: float = 1e-5, backend: str | None = None,
) -> Tensor:  # fmt: skip
    """Soft masks in (0, 1) of boxes, learned.

    The four coordinate ramps 2 (X - x0, Y - y0, X - x1, Y - y1) - 1 on the grid X = j / (W - 1), Y = i / (H - 1) go
    through a 3x3 convolution to K channels, ReLU, BatchNorm, a 3x3 convolution to one, and a sigmoid (padding 1, zero).

    boxes     (V, 4) floating: x0, y0, x1, y1 in units of the image, y down
    weights   MaskWeights, of the same type
    size      (H, W), at least 1 each
    training  False: running statistics; True: the batch's own over (V, H, W), and weights.running_mean and running_var
              are updated in place as torch's BatchNorm does it (momentum; unbiased variance). No symbols: no update.
    momentum  weight of the batch in that update
    eps       added to the variance
    returns   (V, 1, H, W)

    Differentiable once, in boxes and every weight but the running statistics.
    Raises ValueError or TypeError for arguments that do not fit (in training mode also where a channel has a single
    value, which has no variance), BackendError if ``backend`` cannot run it.
    """
    masks, statistics = _refine_masks(boxes, weights, size, training, eps, backend)
    if statistics is not None:
        with torch.no_grad():  # the caller's own tensors, where autocast works on copies
            for running, batch in zip((weights.running_mean, weights.running_var), statistics, strict=True):
                running.lerp_(batch.to(running.dtype), momentum)
    return masks


@under_autocast
def _refine_masks(
    boxes: Tensor, weights: MaskWeights, size: tuple[int, int], training: bool, eps: float, backend: str | None
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """The masks, and in training the batch's mean and unbiased variance where there are any values."""
    height, width = check_size("refine_masks", size)
    arguments = Arguments("refine_masks")
    arguments.floating("boxes", boxes, "V", 4)
    check_mask_weights(arguments, weights)
    values = boxes.shape[0] * height * width
    if training and values == 1:
        raise ValueError("refine_masks: training needs more than one value per channel, got one symbol of size (1, 1)")
    name = backend_name("refine_masks", (boxes, *weights), backend)
    masks, mean, var = torch.ops.hmeg.refine_masks(boxes, *weights, height, width, training, eps, name)
    if not training or values == 0:
        return masks, None
    return masks, (mean, var * (values / (values - 1)))


def check_mask_weights(arguments: Arguments, weights: MaskWeights) -> None:
    """Shapes, types and device of the weights."""
    arguments.floating("weights.conv1_weight", weights.conv1_weight, "K", 4, 3, 3)
    for field in ("conv1_bias", "bn_weight", "bn_bias", "running_mean", "running_var"):
        arguments.floating(f"weights.{field}", getattr(weights, field), "K")
    arguments.floating("weights.conv2_weight", weights.conv2_weight, 1, "K", 3, 3)
    arguments.floating("weights.conv2_bias", weights.conv2_bias, 1)


def _fake(
    boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor, running_mean: Tensor,
    running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor, height: int, width: int, training: bool, eps: float,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    channels = running_mean.shape[0] if training else 0
    masks = boxes.new_empty((boxes.shape[0], 1, height, width))
    return masks, boxes.new_empty((channels,)), boxes.new_empty((channels,))


def _fake_backward(
    grad_masks: Tensor, masks: Tensor, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor,
    bn_bias: Tensor, mean: Tensor, var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor, training: bool, eps: float,
    backend: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    inputs = (boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, conv2_weight, conv2_bias)
    return tuple(t.new_empty(t.shape) for t in inputs)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, _height, _width, ctx.training, ctx.eps, ctx.backend = inputs
    masks, mean, var = output
    ctx.mark_non_differentiable(mean, var)
    if ctx.training:
        # The statistics the masks were normalised with; the running ones are about to change.
        tensors[5:7] = mean, var
    ctx.save_for_backward(masks, *tensors)


def _backward(ctx: Any, grad_masks: Tensor, _grad_mean: Tensor, _grad_var: Tensor) -> tuple[Tensor | None, ...]:
    grads = torch.ops.hmeg.refine_masks_backward(grad_masks, *ctx.saved_tensors, ctx.training, ctx.eps, ctx.backend)
    boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, conv2_weight, conv2_bias = grads
    return (
        boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, None, None, conv2_weight, conv2_bias,
        None, None, None, None, None,
    )  # fmt: skip


define(
    "refine_masks(Tensor boxes, Tensor conv1_weight, Tensor conv1_bias, Tensor bn_weight, Tensor bn_bias,"
    " Tensor running_mean, Tensor running_var, Tensor conv2_weight, Tensor conv2_bias, SymInt height, SymInt width,"
    " bool training, float eps, str backend) -> (Tensor, Tensor, Tensor)",
    _fake,
)
define(
    "refine_masks_backward(Tensor grad_masks, Tensor masks, Tensor boxes, Tensor conv1_weight, Tensor conv1_bias,"
    " Tensor bn_weight, Tensor bn_bias, Tensor mean, Tensor var, Tensor conv2_weight, Tensor conv2_bias, bool training,"
    " float eps, str backend) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _fake_backward,
)
differentiate("refine_masks", _save, _backward)
