"""The structure of a list of edges: who owns which, and whether the graphs are complete."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from hmeg import ops
from hmeg.graph import Relation, SymbolGraph
from hmeg.model.graph_batch import GraphBatch
from tests.support.operator_checks import check_registration


def complete(sizes: list[int]) -> Tensor:
    """Every ordered pair of nodes of each graph, self-pairs too, by graph, first and second node."""
    pairs, first = [torch.zeros(0, 2, dtype=torch.int64)], 0
    for size in sizes:
        pairs.append(torch.cartesian_prod(*[torch.arange(first, first + size)] * 2).reshape(-1, 2))
        first += size
    return torch.cat(pairs).T


def edges_of(rows: Tensor, edges: Tensor) -> list[list[int]]:
    bounds = rows.tolist()
    return [edges[begin:end].tolist() for begin, end in pairwise(bounds)]


@pytest.mark.parametrize(
    ("nodes", "edge_index"),
    [
        (7, torch.randint(0, 6, (2, 30), generator=torch.Generator().manual_seed(0))),
        (5, complete([2, 3])),
        (3, torch.zeros(2, 0, dtype=torch.int64)),
        (0, torch.zeros(2, 0, dtype=torch.int64)),
    ],
    ids=["arbitrary", "complete", "no edges", "no nodes"],
)
def test_every_edge_has_its_owners(nodes: int, edge_index: Tensor) -> None:
    found = ops.edge_structure(edge_index, nodes)
    for side, (rows, edges) in enumerate([found[:2], found[2:4]]):
        owners = edge_index[side].tolist()
        assert edges_of(rows, edges) == [[e for e, owner in enumerate(owners) if owner == v] for v in range(nodes)]


@pytest.mark.parametrize("sizes", [[1], [4], [1, 1, 1], [3, 1, 5, 2], [2, 2], []], ids=str)
def test_complete_graphs_are_recognised(sizes: list[int]) -> None:
    found = ops.edge_structure(complete(sizes), sum(sizes))
    assert found.complete
    assert found.graph_nodes.diff().tolist() == sizes
    assert found.graph_edges.diff().tolist() == [size * size for size in sizes]
    assert found.graph_nodes[0] == found.graph_edges[0] == 0


@pytest.mark.parametrize(("nodes", "edges"), [(1, 0), (1, 1), (1, 2), (2, 2), (2, 4), (3, 3)])
def test_nothing_else_is_taken_for_complete(nodes: int, edges: int) -> None:
    """Of all lists of so many edges, exactly those of complete graphs of some sizes."""
    partitions = [sizes for count in range(1, nodes + 1) for sizes in product(range(1, nodes + 1), repeat=count)
                  if sum(sizes) == nodes]  # fmt: skip
    wanted = {tuple(complete(list(sizes)).T.flatten().tolist()) for sizes in partitions}
    for pairs in product(product(range(nodes), repeat=2), repeat=edges):
        edge_index = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
        is_one = tuple(edge_index.T.flatten().tolist()) in wanted
        assert ops.edge_structure(edge_index, nodes).complete == is_one, pairs


def test_complete_graphs_out_of_order_are_general() -> None:
    assert not ops.edge_structure(complete([3, 2]).flip(1), 5).complete
    assert not ops.edge_structure(complete([3, 2])[:, :-1], 5).complete
    assert not ops.edge_structure(complete([3, 2]), 6).complete  # a node without edges


def test_out_of_range() -> None:
    for wrong in (-1, 3):
        with pytest.raises(IndexError, match=rf"edge_structure: edge_index must lie in \[0, V = 3\), got {wrong}"):
            ops.edge_structure(torch.tensor([[0, 1], [2, wrong]]), 3)
    with pytest.raises(IndexError, match="got 0"):
        ops.edge_structure(torch.zeros(2, 1, dtype=torch.int64), 0)
    with pytest.raises(ValueError, match=r"edge_structure: edge_index must have shape \(2, E\), got \(3,\)"):
        ops.edge_structure(torch.zeros(3, dtype=torch.int64), 2)
    with pytest.raises(ValueError, match="num_nodes must be at least 0, got -1"):
        ops.edge_structure(torch.zeros(2, 0, dtype=torch.int64), -1)


def test_registered() -> None:
    check_registration("edge_structure", (complete([2, 3]), 5))
    check_registration("edge_structure", (complete([2, 3]).flip(1), 5))


def test_a_batch_takes_it_along_to_a_gpu() -> None:
    """There it could not be recognised any more. The meta device stands for any that is not the CPU."""
    graphs = [SymbolGraph(("x", "2"), (Relation(0, 1, "Sup"),)), SymbolGraph(("a", "+", "b"))]
    batch = GraphBatch.from_graphs(graphs)
    assert batch.structure is None  # nothing on the CPU reads it
    assert batch.to("cpu").structure is None
    moved = batch.to("meta").structure
    assert moved is not None and moved.complete
    assert all(tensor.is_meta for tensor in moved)
    assert [len(tensor) for tensor in moved] == [6, 13, 6, 13, 3, 3]
