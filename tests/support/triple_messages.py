"""Cases of triple_message: graphs, weights, and the forms in which it can be asked."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hmeg import ops, reference
from hmeg.ops import TripleWeights
from tests.support.operator_checks import Problem

FORMS = {
    "plain": {},
    "table": {"table": True},
    "no edges returned": {"return_edges": False},
    "structured": {"structured": True},
    "table, structured, no edges returned": {"table": True, "structured": True, "return_edges": False},
}


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


def problem(
    nodes: int, edge_index: Tensor, channels: int = 12, hidden: int = 14, out: int = 10, pooling: str = "avg",
    table: bool = False, return_edges: bool = True, structured: bool = False,
) -> Problem:  # fmt: skip
    """``table``: features of edges by type; ``structured``: with the structure of the edges."""
    generator = torch.Generator().manual_seed(nodes)
    edges, types = edge_index.shape[1], 5

    def run(t: Mapping[str, Tensor], backend: str | None) -> tuple[Tensor, ...]:
        results = ops.triple_message(
            t["x"], t["edge_attr"], t["edge_index"], TripleWeights(*(t[n] for n in TripleWeights._fields)), pooling,
            edge_type=t.get("edge_type"), return_edges=return_edges, backend=backend,
            structure=ops.edge_structure(t["edge_index"], nodes) if structured else None,
        )  # fmt: skip
        return results

    def oracle(t: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return reference.triple_message(
            t["x"], t["edge_attr"], t["edge_index"], TripleWeights(*(t[n] for n in TripleWeights._fields)), pooling,
            edge_type=t.get("edge_type"), return_edges=return_edges,
        )  # fmt: skip

    return Problem(
        "triple_message",
        run=run,
        oracle=oracle,
        tensors={
            "x": torch.randn(nodes, channels, generator=generator, dtype=torch.float64),
            "edge_attr": torch.randn(types if table else edges, channels, generator=generator, dtype=torch.float64),
            "edge_index": edge_index,
            **({"edge_type": torch.randint(0, types, (edges,), generator=generator)} if table else {}),
            **weights(channels, hidden, out),
        },
    )
