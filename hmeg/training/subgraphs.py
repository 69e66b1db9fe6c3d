"""Less-is-More sampling: the layout discriminator judges a small neighbourhood, not a whole expression."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmeg.model.graph_batch import GraphBatch

MAX_UNRELATED = 5  # unrelated incoming edges kept per expression, as published


@dataclass
class Subgraph:
    """Sampled rows of a batch.

    nodes (V',) rows of the batch's symbols, ascending · edge_index (2, E') rows into ``nodes`` · edge_type (E',) ·
    batch (V',) expression of each kept symbol
    """

    nodes: Tensor
    edge_index: Tensor
    edge_type: Tensor
    batch: Tensor


def sample_subgraphs(graph: GraphBatch, generator: torch.Generator | None = None) -> Subgraph:
    """One random symbol an expression, every related edge at it, at most five random unrelated edges into it.

    The kept symbols are those which the kept edges touch, and the chosen one. Vectorised over the batch: no loop over
    expressions. How much is kept depends on the draw, so on a GPU this waits for the device: trainers sample on the
    CPU, ahead of time. Source: HMEG, section on Less-is-More learning; self-pairs are never sampled.
    """
    device = graph.symbols.device
    subject, object_ = graph.edge_index
    edge_graph = graph.batch[subject]

    def draw(count: int) -> Tensor:
        return torch.rand(count, generator=generator, device=device)

    sizes = torch.bincount(graph.batch, minlength=graph.num_graphs)
    first = torch.cumsum(sizes, 0) - sizes
    chosen = first + (draw(graph.num_graphs) * sizes).long().clamp(max=sizes - 1)

    leaves, enters = subject == chosen[edge_graph], object_ == chosen[edge_graph]
    related = (leaves | enters) & (graph.edge_type != 0)
    candidate = enters & ~leaves & (graph.edge_type == 0)

    # Rank the candidates of every expression by a random key: sort by (expression, key), count from each start.
    rows = candidate.nonzero().squeeze(1)
    order = rows[torch.argsort(edge_graph[rows] + draw(len(rows)).double())]
    per_graph = torch.bincount(edge_graph[order], minlength=graph.num_graphs)
    start = torch.cumsum(per_graph, 0) - per_graph
    rank = torch.arange(len(order), device=device) - start[edge_graph[order]]
    keep_edge = related.clone()
    keep_edge[order[rank < MAX_UNRELATED]] = True

    keep_node = torch.zeros(len(graph.symbols), dtype=torch.bool, device=device)
    keep_node[chosen] = True
    keep_node[subject[keep_edge]] = True
    keep_node[object_[keep_edge]] = True
    new_row = torch.cumsum(keep_node, 0) - 1
    return Subgraph(
        nodes=keep_node.nonzero().squeeze(1),
        edge_index=new_row[graph.edge_index[:, keep_edge]],
        edge_type=graph.edge_type[keep_edge],
        batch=graph.batch[keep_node],
    )


def whole_graphs(graph: GraphBatch, generator: torch.Generator | None = None) -> Subgraph:
    """Everything, as a sub-graph: what the ablation without Less-is-More judges. Draws nothing."""
    rows = torch.arange(len(graph.symbols), device=graph.symbols.device)
    return Subgraph(rows, graph.edge_index, graph.edge_type, graph.batch)


def symbols_of(graph: GraphBatch, expressions: slice) -> tuple[int, int]:
    """First row and end of the symbols of a range of expressions."""
    first, last = torch.searchsorted(graph.batch, torch.tensor([expressions.start, expressions.stop])).tolist()
    return first, last


def part_of(graph: GraphBatch, sample: Subgraph, expressions: slice) -> Subgraph:
    """What ``sample``, a sub-graph of ``graph``, has of a range of expressions; rows count from the range's first."""
    inside = (sample.batch >= expressions.start) & (sample.batch < expressions.stop)
    if bool(inside.all()):
        return sample
    edges = inside[sample.edge_index[0]]
    new_row = torch.cumsum(inside, 0) - 1
    return Subgraph(
        nodes=sample.nodes[inside] - symbols_of(graph, expressions)[0],
        edge_index=new_row[sample.edge_index[:, edges]],
        edge_type=sample.edge_type[edges],
        batch=sample.batch[inside] - expressions.start,
    )
