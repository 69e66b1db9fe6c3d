"""triple_message: one graph convolution over subject-relation-object triples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hmeg.backends.edges import sign_words
from hmeg.reference.weights import TripleWeights

from ._checks import Arguments
from ._library import backend_name, define, differentiate, under_autocast
from .edge_structure import EdgeStructure, edge_structure

POOLINGS = ("avg", "sum")


@under_autocast
def triple_message(
    x: Tensor, edge_attr: Tensor, edge_index: Tensor, weights: TripleWeights, pooling: str = "avg", *,
    edge_type: Tensor | None = None, structure: EdgeStructure | None = None, return_edges: bool = True,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One GraphTripleConv: new features of symbols and of edges.

    h = ReLU(W2 ReLU(W1 [x_s ; e ; x_o] + b1) + b2), split in (s: K, e: C', o: K);
    pooled_v = sum of s over edges with subject v + sum of o over edges with object v, divided by max(1, how many)
    for ``avg``; x' = ReLU(W4 ReLU(W3 pooled + b3) + b4); edge_attr' = e. A self-pair counts twice.

    x             (V, C) floating
    edge_attr     (E, C), of the same type; with ``edge_type`` a table (R, C) of the features that edges can have
    edge_index    (2, E) int64 in [0, V): subject row, object row
    weights       TripleWeights, hidden width K, output width C'
    pooling       "avg" or "sum"
    edge_type     (E,) int64 in [0, R): edge i has edge_attr[edge_type[i]]; much less work than writing that out
    structure     edge_structure(edge_index, V), worth making once where several layers share the edges. Only kernels
                  on a GPU read it, and it is made here for them if not given. On the CPU edge_index is all there is to
                  read. It must be the structure of this edge_index: sizes are checked, values are not
    return_edges  False: edge_attr' is an empty (0, C') and is never computed
    returns       x' (V, C'), edge_attr' (E, C')

    Differentiable once, in x, edge_attr and every weight. On the CPU the zeros that a ReLU leaves are passed over: they
    count as zero even times infinity or NaN.
    Raises ValueError or TypeError for arguments that do not fit, IndexError on the CPU for indices out of range,
    BackendError if ``backend`` cannot run it.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"triple_message: pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    arguments = Arguments("triple_message")
    arguments.floating("x", x, "V", "C")
    arguments.indices("edge_index", edge_index, 2, "E")
    if edge_type is None:
        arguments.floating("edge_attr", edge_attr, "E", "C")
    else:
        arguments.floating("edge_attr", edge_attr, "R", "C")
        arguments.indices("edge_type", edge_type, "E")
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
    if structure is not None:
        arguments.dim("V + 1", x.shape[0] + 1)
        for rows, edges in (("subject_rows", "subject_edges"), ("object_rows", "object_edges")):
            arguments.indices(f"structure.{rows}", getattr(structure, rows), "V + 1")
            arguments.indices(f"structure.{edges}", getattr(structure, edges), "E")
        arguments.indices("structure.graph_nodes", structure.graph_nodes, "G + 1")
        arguments.indices("structure.graph_edges", structure.graph_edges, "G + 1")
    elif x.device.type != "cpu":
        structure = edge_structure(edge_index, x.shape[0])
    differentiable = (x, edge_attr, *weights)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in differentiable)
    name = backend_name("triple_message", (*differentiable, edge_index), backend)
    new_x, new_edge_attr, _pooled, _signs = torch.ops.hmeg.triple_message(
        x, edge_attr, edge_index, edge_type, list(structure or ()), *weights, pooling, return_edges, keep, name
    )
    return new_x, new_edge_attr


def _fake(
    x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor],
    w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
    return_edges: bool, keep: bool, backend: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    (nodes, edges), (out, hidden) = (x.shape[0], edge_index.shape[1]), w4.shape
    return (
        x.new_empty((nodes, out)),
        x.new_empty((edges if return_edges else 0, out)),
        x.new_empty((nodes if keep else 0, hidden)),
        x.new_empty((edges if keep else 0, sign_words(hidden, out, return_edges)), dtype=torch.int32),
    )


def _fake_backward(
    grad_x: Tensor, grad_edge_attr: Tensor, new_x: Tensor, pooled: Tensor, signs: Tensor, x: Tensor, edge_attr: Tensor,
    edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor], w1: Tensor, b1: Tensor, w2: Tensor,
    b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str, return_edges: bool, backend: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    return tuple(t.new_empty(t.shape) for t in (x, edge_attr, w1, b1, w2, b2, w3, b3, w4, b4))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, edge_attr, edge_index, edge_type, structure, *weights, ctx.pooling, ctx.return_edges, _keep, ctx.backend = inputs
    new_x, _, pooled, signs = output
    ctx.mark_non_differentiable(pooled, signs)
    ctx.has_types = edge_type is not None
    types = (edge_type,) if ctx.has_types else ()
    ctx.save_for_backward(new_x, pooled, signs, x, edge_attr, edge_index, *weights, *types, *structure)


def _backward(
    ctx: Any, grad_x: Tensor, grad_edge_attr: Tensor, _grad_pooled: Tensor, _grad_signs: Tensor
) -> tuple[Any, ...]:
    new_x, pooled, signs, x, edge_attr, edge_index, *rest = ctx.saved_tensors
    weights, rest = rest[: len(TripleWeights._fields)], rest[len(TripleWeights._fields) :]
    edge_type, structure = (rest[0], rest[1:]) if ctx.has_types else (None, rest)
    for_x, for_edges, *for_weights = torch.ops.hmeg.triple_message_backward(
        grad_x, grad_edge_attr, new_x, pooled, signs, x, edge_attr, edge_index, edge_type, structure, *weights,
        ctx.pooling, ctx.return_edges, ctx.backend,
    )  # fmt: skip
    return for_x, for_edges, None, None, None, *for_weights, None, None, None, None


_EDGES = "Tensor x, Tensor edge_attr, Tensor edge_index, Tensor? edge_type, Tensor[] structure"
_WEIGHTS = "Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor w3, Tensor b3, Tensor w4, Tensor b4"

# structure: the six tensors of EdgeStructure, or none; a backend that needs them makes them then.
#
# With keep, the forward pass leaves two more results for the backward pass; without, they have 0 rows. All backends
# write and read them alike:
#   pooled (V, K)  what W3 is applied to
#   signs (E, sign_words) int32: bit i of word j of an edge says whether W2's output in column 32 j + i is positive.
#     Columns: K for the subject, K for the object, and with return_edges C' for the edge; each of the three begins a
#     word, and bits beyond its end are 0.
define(
    f"triple_message({_EDGES}, {_WEIGHTS}, str pooling, bool return_edges, bool keep, str backend)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    _fake,
)
define(
    "triple_message_backward(Tensor grad_x, Tensor grad_edge_attr, Tensor new_x, Tensor pooled, Tensor signs,"
    f" {_EDGES}, {_WEIGHTS}, str pooling, bool return_edges, str backend)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _fake_backward,
)
differentiate("triple_message", _save, _backward)
