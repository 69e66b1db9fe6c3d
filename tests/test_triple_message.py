"""triple_message on every backend."""

from __future__ import annotations

import pytest
import torch
from operator_checks import (
    Problem,
    check_agreement,
    check_compiled,
    check_gradients,
    check_registration,
    check_repeatable,
)
from targets import Target, targets
from torch import Tensor

from hmeg import ops, reference
from hmeg.ops import TripleWeights

EVERYWHERE = pytest.mark.parametrize("backend", targets("triple_message"), indirect=True)


def weights(channels: int, hidden: int, out: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(channels)
    shapes = {
        "w1": (hidden, 3 * channels), "b1": (hidden,), "w2": (2 * hidden + out, hidden), "b2": (2 * hidden + out,),
        "w3": (hidden, hidden), "b3": (hidden,), "w4": (out, hidden), "b4": (out,),
    }  # fmt: skip
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) / shape[-1] ** 0.5
        for name, shape in shapes.items()
    }


def complete(sizes: list[int]) -> Tensor:
    """Every ordered pair of symbols of each expression, self-pairs too."""
    first, pairs = 0, []
    for size in sizes:
        nodes = torch.arange(first, first + size)
        pairs.append(torch.cartesian_prod(nodes, nodes).reshape(-1, 2).T)
        first += size
    return torch.cat(pairs, dim=1)


def arbitrary(nodes: int, edges: int) -> Tensor:
    """Edges in no order, some more than once; some nodes have none."""
    generator = torch.Generator().manual_seed(edges)
    return torch.randint(0, max(nodes - 2, 1), (2, edges), generator=generator)


def problem(nodes: int, edge_index: Tensor, channels: int = 12, hidden: int = 14, out: int = 10, pooling: str = "avg"
            ) -> Problem:  # fmt: skip
    generator = torch.Generator().manual_seed(nodes)
    names = list(TripleWeights._fields)
    return Problem(
        "triple_message",
        run=lambda t, backend: ops.triple_message(
            t["x"], t["edge_attr"], t["edge_index"], TripleWeights(*(t[n] for n in names)), pooling, backend=backend
        ),
        oracle=lambda t: reference.triple_message(
            t["x"], t["edge_attr"], t["edge_index"], TripleWeights(*(t[n] for n in names)), pooling
        ),
        tensors={
            "x": torch.randn(nodes, channels, generator=generator, dtype=torch.float64),
            "edge_attr": torch.randn(edge_index.shape[1], channels, generator=generator, dtype=torch.float64),
            "edge_index": edge_index,
            **weights(channels, hidden, out),
        },
    )


GRAPHS = {
    "complete": (8, complete([3, 5])),
    "one symbol": (1, complete([1])),
    "no edges": (4, torch.zeros(2, 0, dtype=torch.int64)),
    "no symbols": (0, torch.zeros(2, 0, dtype=torch.int64)),
    "arbitrary": (9, arbitrary(9, 20)),
    "large": (60, complete([20, 1, 9, 30])),
}


@EVERYWHERE
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("pooling", ["avg", "sum"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_agrees_with_the_reference(backend: Target, dtype: torch.dtype, graph: str, pooling: str) -> None:
    check_agreement(problem(*GRAPHS[graph], pooling=pooling), backend, dtype)


@EVERYWHERE
def test_non_contiguous(backend: Target) -> None:
    check_agreement(problem(*GRAPHS["arbitrary"]), backend, torch.float64, strided=True)


@EVERYWHERE
def test_gradcheck_and_repeatable(backend: Target) -> None:
    check_gradients(problem(*GRAPHS["complete"]), backend)
    check_gradients(problem(*GRAPHS["arbitrary"], pooling="sum"), backend)
    check_repeatable(problem(*GRAPHS["large"]), backend, torch.float32)


def test_self_pair_counts_twice() -> None:
    given = problem(2, torch.tensor([[0, 1, 0], [0, 1, 1]])).tensors
    bundle = TripleWeights(*(given[n] for n in TripleWeights._fields))
    triples = torch.cat([given["x"][[0, 1, 0]], given["edge_attr"], given["x"][[0, 1, 1]]], dim=1)
    hidden = torch.relu(torch.relu(triples @ bundle.w1.T + bundle.b1) @ bundle.w2.T + bundle.b2)
    for_subject, edges, for_object = hidden[:, :14], hidden[:, 14:24], hidden[:, 24:]
    pooled = torch.stack(
        [
            (for_subject[0] + for_object[0] + for_subject[2]) / 3,
            (for_subject[1] + for_object[1] + for_object[2]) / 3,
        ]
    )
    nodes = torch.relu(torch.relu(pooled @ bundle.w3.T + bundle.b3) @ bundle.w4.T + bundle.b4)
    got = ops.triple_message(given["x"], given["edge_attr"], given["edge_index"], bundle)
    assert torch.allclose(got[0], nodes, atol=1e-12)
    assert torch.allclose(got[1], edges, atol=1e-12)


@pytest.mark.parametrize("backend", ["reference"], indirect=True)
def test_registered_and_compiled(backend: Target) -> None:
    given = problem(*GRAPHS["complete"], channels=4, hidden=5, out=3)
    x, edge_attr, edge_index, *rest = given.tensors.values()
    floating = [t.float().requires_grad_() for t in (x, edge_attr)]
    bundle = [t.float().requires_grad_() for t in rest]
    check_registration("triple_message", (*floating, edge_index, *bundle, "avg", backend.name))
    grads = torch.randn(8, 3), torch.randn(edge_index.shape[1], 3)
    inputs = [t.detach() for t in floating], [t.detach() for t in bundle]
    check_registration(
        "triple_message_backward", (*grads, *inputs[0], edge_index, *inputs[1], "avg", backend.name)
    )
    check_compiled(given, backend)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"x": torch.zeros(2)}, ValueError, r"triple_message: x must have shape \(V, C\), got \(2,\)"),
        ({"edge_attr": torch.zeros(3, 5)}, ValueError, r"edge_attr must have shape \(E, C = 4\), got \(3, 5\)"),
        ({"edge_index": torch.zeros(2, 4).long()}, ValueError, r"edge_index must have shape \(2, E = 3\)"),
        ({"edge_index": torch.zeros(2, 3).int()}, TypeError, "edge_index must be int64, got torch.int32"),
        ({"w1": torch.zeros(6, 11)}, ValueError, r"weights.w1 must have shape \(K = 6, 3 C = 12\), got \(6, 11\)"),
        ({"w2": torch.zeros(18, 6)}, ValueError, r"weights.w2 must have shape \(2 K \+ C' = 17, K = 6\)"),
        ({"b4": torch.zeros(6)}, ValueError, r"weights.b4 must have shape \(C' = 5\), got \(6,\)"),
        ({"pooling": "max"}, ValueError, "pooling must be one of avg, sum, got 'max'"),
    ],
)
def test_bad_arguments(changed: dict[str, object], error: type[Exception], message: str) -> None:
    values: dict[str, object] = {n: t.float() for n, t in weights(4, 6, 5).items()}
    values |= {"x": torch.zeros(2, 4), "edge_attr": torch.zeros(3, 4), "edge_index": torch.zeros(2, 3).long()}
    values |= {"pooling": "avg", **changed}
    bundle = TripleWeights(*(values.pop(n) for n in TripleWeights._fields))  # type: ignore[arg-type]
    with pytest.raises(error, match=message):
        ops.triple_message(weights=bundle, **values)  # type: ignore[arg-type]
