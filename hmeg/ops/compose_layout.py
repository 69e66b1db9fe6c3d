"""compose_layout: an expression's masks, each times its symbol's features, summed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._checks import Arguments, check_count
from ._library import backend_name, define, differentiate, under_autocast


@under_autocast
def compose_layout(
    masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int, *, backend: str | None = None
) -> Tensor:
    """Layouts: layout[n, c] = sum over the symbols v of expression n of masks[v] * features[v, c].

    masks       (V, 1, H, W) floating
    features    (V, C), of the same type
    batch       (V,) int64, non-decreasing, in [0, num_graphs): the expression of each symbol
    num_graphs  N, at least 0
    returns     (N, C, H, W); an expression without symbols is zero

    Differentiable once, in masks and features.
    Raises ValueError or TypeError for arguments that do not fit, BackendError if ``backend`` cannot run it.
    """
    check_count("compose_layout", "num_graphs", num_graphs)
    arguments = Arguments("compose_layout")
    arguments.floating("masks", masks, "V", 1, "H", "W")
    arguments.floating("features", features, "V", "C")
    arguments.indices("batch", batch, "V")
    name = backend_name("compose_layout", (masks, features, batch), backend)
    result: Tensor = torch.ops.hmeg.compose_layout(masks, features, batch, num_graphs, name)
    return result


def _fake(masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int, backend: str) -> Tensor:
    return features.new_empty((num_graphs, features.shape[1], masks.shape[2], masks.shape[3]))


def _fake_backward(
    grad_layout: Tensor, masks: Tensor, features: Tensor, batch: Tensor, backend: str
) -> tuple[Tensor, Tensor]:
    return masks.new_empty(masks.shape), features.new_empty(features.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    masks, features, batch, _num_graphs, ctx.backend = inputs
    ctx.save_for_backward(masks, features, batch)


def _backward(ctx: Any, grad_layout: Tensor) -> tuple[Tensor | None, ...]:
    masks, features, batch = ctx.saved_tensors
    grads = torch.ops.hmeg.compose_layout_backward(grad_layout, masks, features, batch, ctx.backend)
    return *grads, None, None, None


define("compose_layout(Tensor masks, Tensor features, Tensor batch, SymInt num_graphs, str backend) -> Tensor", _fake)
define(
    "compose_layout_backward(Tensor grad_layout, Tensor masks, Tensor features, Tensor batch, str backend)"
    " -> (Tensor, Tensor)",
    _fake_backward,
)
differentiate("compose_layout", _save, _backward)
