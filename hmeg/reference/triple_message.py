"""Textbook triple_message: one graph convolution over subject-relation-object triples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from hmeg.ops.weights import TripleWeights


def triple_message(
    x: Tensor, edge_attr: Tensor, edge_index: Tensor, weights: TripleWeights, pooling: str = "avg"
) -> tuple[Tensor, Tensor]:
    """x (V, C), edge_attr (E, C), edge_index (2, E) -> x' (V, C'), edge_attr' (E, C'); pooling ``avg`` or ``sum``."""
    subject, object_ = edge_index
    triples = torch.cat([x[subject], edge_attr, x[object_]], dim=1)
    hidden = F.relu(F.linear(F.relu(F.linear(triples, weights.w1, weights.b1)), weights.w2, weights.b2))
    width = weights.w3.shape[1]
    for_subject, edge_out, for_object = hidden.split([width, hidden.shape[1] - 2 * width, width], dim=1)
    pooled = x.new_zeros((len(x), width)).index_add(0, subject, for_subject).index_add(0, object_, for_object)
    if pooling == "avg":
        ones = x.new_ones(edge_index.shape[1])
        count = x.new_zeros(len(x)).index_add(0, subject, ones).index_add(0, object_, ones)
        pooled = pooled / count.clamp(min=1)[:, None]
    return F.relu(F.linear(F.relu(F.linear(pooled, weights.w3, weights.b3)), weights.w4, weights.b4)), edge_out
