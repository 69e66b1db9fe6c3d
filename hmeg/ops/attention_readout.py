"""attention_readout: one vector per expression, of its symbols weighted by attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._checks import Arguments, check_count
from ._library import backend_name, define, differentiate, under_autocast


@under_autocast
def attention_readout(
    x: Tensor, weight: Tensor, batch: Tensor, num_graphs: int, *, backend: str | None = None
) -> Tensor:
    """One vector per expression: its symbols, weighted by their agreement with the expression's context.

    c_n = tanh(mean over the symbols of expression n of x_v W), g_n = sum over them of sigmoid(x_v . c_n) x_v.

    x           (V, C) floating
    weight      (C, C), of the same type: W
    batch       (V,) int64, non-decreasing, in [0, num_graphs): the expression of each symbol
    num_graphs  N, at least 0
    returns     (N, C); an expression without symbols is zero

    Differentiable once, in x and weight.
    Raises ValueError or TypeError for arguments that do not fit, BackendError if ``backend`` cannot run it.
    """
    check_count("attention_readout", "num_graphs", num_graphs)
    arguments = Arguments("attention_readout")
    arguments.floating("x", x, "V", "C")
    arguments.floating("weight", weight, "C", "C")
    arguments.indices("batch", batch, "V")
    name = backend_name("attention_readout", (x, weight, batch), backend)
    result: Tensor = torch.ops.hmeg.attention_readout(x, weight, batch, num_graphs, name)
    return result


def _fake(x: Tensor, weight: Tensor, batch: Tensor, num_graphs: int, backend: str) -> Tensor:
    return x.new_empty((num_graphs, x.shape[1]))


def _fake_backward(grad: Tensor, x: Tensor, weight: Tensor, batch: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, batch, _num_graphs, ctx.backend = inputs
    ctx.save_for_backward(x, weight, batch)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = torch.ops.hmeg.attention_readout_backward(grad, *ctx.saved_tensors, ctx.backend)
    return *grads, None, None, None


define("attention_readout(Tensor x, Tensor weight, Tensor batch, SymInt num_graphs, str backend) -> Tensor", _fake)
define(
    "attention_readout_backward(Tensor grad, Tensor x, Tensor weight, Tensor batch, str backend) -> (Tensor, Tensor)",
    _fake_backward,
)
differentiate("attention_readout", _save, _backward)
