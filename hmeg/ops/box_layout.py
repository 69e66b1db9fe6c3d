"""box_layout: features painted into their boxes' fixed soft masks, summed per expression."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._checks import Arguments, check_count, check_size
from ._library import backend_name, define, differentiate, under_autocast


@under_autocast
def box_layout(
    features: Tensor, boxes: Tensor, batch: Tensor, size: tuple[int, int], num_graphs: int, *,
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """compose_layout(box_soft_mask(boxes, size), features, batch, num_graphs), as one operator.

    features    (V, C) floating
    boxes       (V, 4), of the same type: x0, y0, x1, y1 in units of the image, y down (see box_soft_mask)
    batch       (V,) int64, non-decreasing, in [0, num_graphs): the expression of each symbol
    size        (H, W), at least 1 each
    num_graphs  N, at least 0
    returns     (N, C, H, W); an expression without symbols is zero

    Differentiable once, in features and boxes.
    Raises ValueError or TypeError for arguments that do not fit, BackendError if ``backend`` cannot run it.
    """
    height, width = check_size("box_layout", size)
    check_count("box_layout", "num_graphs", num_graphs)
    arguments = Arguments("box_layout")
    arguments.floating("features", features, "V", "C")
    arguments.floating("boxes", boxes, "V", 4)
    arguments.indices("batch", batch, "V")
    name = backend_name("box_layout", (features, boxes, batch), backend)
    result: Tensor = torch.ops.hmeg.box_layout(features, boxes, batch, height, width, num_graphs, name)
    return result


def _fake(
    features: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int, num_graphs: int, backend: str
) -> Tensor:
    return features.new_empty((num_graphs, features.shape[1], height, width))


def _fake_backward(
    grad_layout: Tensor, features: Tensor, boxes: Tensor, batch: Tensor, backend: str
) -> tuple[Tensor, Tensor]:
    return features.new_empty(features.shape), boxes.new_empty(boxes.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, boxes, batch, _height, _width, _num_graphs, ctx.backend = inputs
    ctx.save_for_backward(features, boxes, batch)


def _backward(ctx: Any, grad_layout: Tensor) -> tuple[Tensor | None, ...]:
    features, boxes, batch = ctx.saved_tensors
    grads = torch.ops.hmeg.box_layout_backward(grad_layout, features, boxes, batch, ctx.backend)
    return *grads, None, None, None, None, None


define(
    "box_layout(Tensor features, Tensor boxes, Tensor batch, SymInt height, SymInt width, SymInt num_graphs,"
    " str backend) -> Tensor",
    _fake,
)
define(
    "box_layout_backward(Tensor grad_layout, Tensor features, Tensor boxes, Tensor batch, str backend)"
    " -> (Tensor, Tensor)",
    _fake_backward,
)
differentiate("box_layout", _save, _backward)
