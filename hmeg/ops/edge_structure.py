"""edge_structure: who sums which edges, found once for a list of edges and used by every layer over it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hmeg.backends.edges import check_range

from ._checks import Arguments, check_count
from ._library import LIBRARY


class EdgeStructure(NamedTuple):
    """The edges of each node, and the complete graphs if there is nothing else. All int64, on edge_index's device.

    Node v is the subject of edges subject_edges[subject_rows[v] : subject_rows[v + 1]], and the object of those that
    the other two name; edges of one node stand in the order of edge_index.

    subject_rows, object_rows    (V + 1,)
    subject_edges, object_edges  (E,)
    graph_nodes, graph_edges     (G + 1,): first node and first edge of each complete graph, and V and E at the end.
                                 Graph g of n nodes then has the edges graph_edges[g] + i n + j, from its node i to its
                                 node j, and there is no other edge. Both are (0,) where that was not found to be so.
    """

    subject_rows: Tensor
    subject_edges: Tensor
    object_rows: Tensor
    object_edges: Tensor
    graph_nodes: Tensor
    graph_edges: Tensor

    @property
    def complete(self) -> bool:
        """Whether edge_index lists complete graphs, ordered by graph, subject, object. A matter of shapes."""
        return self.graph_nodes.shape[0] > 0

    def to(self, device: torch.device | str, non_blocking: bool = False) -> EdgeStructure:
        """The same on another device."""
        return EdgeStructure(*(tensor.to(device, non_blocking=non_blocking) for tensor in self))


def edge_structure(edge_index: Tensor, num_nodes: int) -> EdgeStructure:
    """Sorts edges by subject and by object (stably) for :func:`hmeg.ops.triple_message`.

    edge_index  (2, E) int64 in [0, num_nodes): subject row, object row; any order, repeated edges and self-pairs too
    num_nodes   V, at least 0

    Complete graphs are recognised from edge_index itself, on the CPU only: elsewhere that would take a look at its
    values, hence a wait. Make the structure where the edges are made and move it with ``to``. On a GPU nothing here
    synchronises. On the CPU edges out of range raise IndexError.
    Raises ValueError or TypeError for arguments that do not fit. Not differentiable: there is nothing floating.
    """
    check_count("edge_structure", "num_nodes", num_nodes)
    Arguments("edge_structure").indices("edge_index", edge_index, 2, "E")
    return EdgeStructure(*torch.ops.hmeg.edge_structure(edge_index, num_nodes))


def _run(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, ...]:
    check_range("edge_structure", "edge_index", edge_index, "V", num_nodes)
    subject_rows, subject_edges = _sorted(edge_index[0], num_nodes)
    object_rows, object_edges = _sorted(edge_index[1], num_nodes)
    graph_nodes = _complete_graphs(edge_index, subject_rows, num_nodes) if edge_index.device.type == "cpu" else None
    if graph_nodes is None:
        empty = edge_index.new_empty(0)
        return subject_rows, subject_edges, object_rows, object_edges, empty, empty.clone()
    return subject_rows, subject_edges, object_rows, object_edges, graph_nodes, subject_rows[graph_nodes]


def _sorted(nodes: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Row pointers (V + 1,) and edges (E,) by node."""
    ordered, edges = torch.sort(nodes, stable=True)
    return torch.searchsorted(ordered, torch.arange(num_nodes + 1, device=nodes.device)), edges


def _complete_graphs(edge_index: Tensor, rows: Tensor, num_nodes: int) -> Tensor | None:
    """First nodes (G + 1,) if edge_index is exactly what complete graphs of some sizes would have, else None.

    A node whose first edge goes to itself begins a graph: so the sizes are read off, and all the rest is compared.
    """
    nodes, degree = torch.arange(num_nodes), rows.diff()
    if bool((degree == 0).any()):
        return None
    first_object = edge_index[1][rows[:-1]]
    starts = nodes[first_object == nodes]
    graph_nodes = torch.cat([starts, torch.tensor([num_nodes])])
    if int(graph_nodes[0]):
        return None
    sizes = graph_nodes.diff()
    if not torch.equal(torch.repeat_interleave(sizes, sizes), degree):
        return None
    subject = torch.repeat_interleave(nodes, degree)
    object_ = torch.repeat_interleave(starts, sizes)[subject] + torch.arange(len(subject)) - rows[subject]
    return graph_nodes if torch.equal(edge_index, torch.stack([subject, object_])) else None


def _fake(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, ...]:
    edges, rows, graphs = edge_index.shape[1], num_nodes + 1, 0
    if edge_index.device.type == "cpu":
        graphs = torch.library.get_ctx().new_dynamic_size()  # type: ignore[assignment]
    return tuple(edge_index.new_empty(size) for size in (rows, edges, rows, edges, graphs, graphs))


LIBRARY.define(
    "edge_structure(Tensor edge_index, SymInt num_nodes) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
for _device in ("CPU", "CUDA"):
    LIBRARY.impl("edge_structure", _run, _device)
torch.library.register_fake("hmeg::edge_structure", _fake, lib=LIBRARY)
