"""Textbook triple_message: one graph convolution over subject-relation-object triples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from .weights import TripleWeights


def triple_message(
    x: Tensor, edge_attr: Tensor, edge_index: Tensor, weights: TripleWeights, pooling: str = "avg", *,
    edge_type: Tensor | None = None, return_edges: bool = True,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """x (V, C), edge_attr (E, C) or a table (R, C) read at edge_type (E,), edge_index (2, E) -> x' (V, C'),
    edge_attr' (E, C') or, without ``return_edges``, (0, C'); pooling ``avg`` or ``sum``."""
    for_subject, edge_out, for_object = edge_activations(x, edge_attr, edge_index, weights, edge_type)
    pooled = pool(for_subject, for_object, edge_index, len(x), pooling)
    new_x = F.relu(F.linear(F.relu(F.linear(pooled, weights.w3, weights.b3)), weights.w4, weights.b4))
    return new_x, edge_out if return_edges else edge_out[:0].clone()


def edge_activations(
    x: Tensor, edge_attr: Tensor, edge_index: Tensor, weights: TripleWeights, edge_type: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The three parts of an edge's output: (E, K) for its subject, (E, C') its own, (E, K) for its object."""
    subject, object_ = edge_index
    own = edge_attr if edge_type is None else edge_attr[edge_type]
    triples = torch.cat([x[subject], own, x[object_]], dim=1)
    hidden = F.relu(F.linear(F.relu(F.linear(triples, weights.w1, weights.b1)), weights.w2, weights.b2))
    width = weights.w3.shape[1]
    for_subject, edge_out, for_object = hidden.split([width, hidden.shape[1] - 2 * width, width], dim=1)
    return for_subject, edge_out, for_object


def pool(for_subject: Tensor, for_object: Tensor, edge_index: Tensor, num_nodes: int, pooling: str) -> Tensor:
    """(V, K): what the edges at each node say of it, summed; for ``avg`` divided by how many say something."""
    subject, object_ = edge_index
    zeros = for_subject.new_zeros((num_nodes, for_subject.shape[1]))
    pooled = zeros.index_add(0, subject, for_subject).index_add(0, object_, for_object)
    if pooling == "avg":
        ones = for_subject.new_ones(edge_index.shape[1])
        count = for_subject.new_zeros(num_nodes).index_add(0, subject, ones).index_add(0, object_, ones)
        pooled = pooled / count.clamp(min=1)[:, None]
    return pooled
