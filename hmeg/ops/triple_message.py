"""triple_message: one graph convolution over subject-relation-object triples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._checks import Arguments
from ._library import backend_name, define, differentiate
from .weights import TripleWeights

POOLINGS = ("avg", "sum")


def triple_message(
    x: Tensor, edge_attr: Tensor, edge_index: Tensor, weights: TripleWeights, pooling: str = "avg", *,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One GraphTripleConv: new features of symbols and of edges.

    h = ReLU(W2 ReLU(W1 [x_s ; e ; x_o] + b1) + b2), split in (s: K, e: C', o: K);
    pooled_v = sum of s over edges with subject v + sum of o over edges with object v, divided by max(1, how many)
    for ``avg``; x' = ReLU(W4 ReLU(W3 pooled + b3) + b4); edge_attr' = e. A self-pair counts twice.

    x           (V, C) floating
    edge_attr   (E, C), of the same type
    edge_index  (2, E) int64 in [0, V): subject row, object row
    weights     TripleWeights, hidden width K, output width C'
    pooling     "avg" or "sum"
    returns     x' (V, C'), edge_attr' (E, C')

    Differentiable once, in x, edge_attr and every weight.
    Raises ValueError or TypeError for arguments that do not fit, BackendError if ``backend`` cannot run it.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"triple_message: pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    arguments = Arguments("triple_message")
    arguments.floating("x", x, "V", "C")
    arguments.floating("edge_attr", edge_attr, "E", "C")
    arguments.indices("edge_index", edge_index, 2, "E")
    arguments.floating("weights.w3", weights.w3, "K", "K")
    arguments.floating("weights.w4", weights.w4, "C'", "K")
    hidden, out = weights.w4.shape[1], weights.w4.shape[0]
    arguments.dim("3 C", 3 * x.shape[1])
    arguments.dim("2 K + C'", 2 * hidden + out)
    arguments.floating("weights.w1", weights.w1, "K", "3 C")
    arguments.floating("weights.b1", weights.b1, "K")
    arguments.floating("weights.w2", weights.w2, "2 K + C'", "K")
    arguments.floating("weights.b2", weights.b2, "2 K + C'")
    arguments.floating("weights.b3", weights.b3, "K")
    arguments.floating("weights.b4", weights.b4, "C'")
    name = backend_name("triple_message", (x, edge_attr, edge_index, *weights), backend)
    new_x, new_edge_attr = torch.ops.hmeg.triple_message(x, edge_attr, edge_index, *weights, pooling, name)
    return new_x, new_edge_attr


def _fake(
    x: Tensor, edge_attr: Tensor, edge_index: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor,
    b3: Tensor, w4: Tensor, b4: Tensor, pooling: str, backend: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return x.new_empty((x.shape[0], w4.shape[0])), x.new_empty((edge_attr.shape[0], w4.shape[0]))


def _fake_backward(
    grad_x: Tensor, grad_edge_attr: Tensor, x: Tensor, edge_attr: Tensor, edge_index: Tensor, w1: Tensor, b1: Tensor,
    w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str, backend: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    return tuple(t.new_empty(t.shape) for t in (x, edge_attr, w1, b1, w2, b2, w3, b3, w4, b4))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.pooling, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad_x: Tensor, grad_edge_attr: Tensor) -> tuple[Tensor | None, ...]:
    for_x, for_edges, *for_weights = torch.ops.hmeg.triple_message_backward(
        grad_x, grad_edge_attr, *ctx.saved_tensors, ctx.pooling, ctx.backend
    )
    return for_x, for_edges, None, *for_weights, None, None


_WEIGHTS = "Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor w3, Tensor b3, Tensor w4, Tensor b4"

define(
    f"triple_message(Tensor x, Tensor edge_attr, Tensor edge_index, {_WEIGHTS}, str pooling, str backend)"
    " -> (Tensor, Tensor)",
    _fake,
)
define(
    "triple_message_backward(Tensor grad_x, Tensor grad_edge_attr, Tensor x, Tensor edge_attr, Tensor edge_index,"
    f" {_WEIGHTS}, str pooling, str backend)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _fake_backward,
)
differentiate("triple_message", _save, _backward)
