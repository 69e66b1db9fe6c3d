"""The losses of layout training, for the layout trainer and the joint one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hmeg.model.box_spread import energy_score, local_shape
from hmeg.model.discriminators import LayoutDiscriminator
from hmeg.model.graph_batch import GraphBatch

from .layout_batch import LayoutBatch
from .subgraphs import Subgraph


def box_loss(boxes: Tensor, batch: LayoutBatch) -> Tensor:
    """Mean absolute difference of generated and true boxes."""
    assert batch.graph.boxes is not None
    return batch.symbol_share * F.l1_loss(boxes.float(), batch.graph.boxes)


def spread_loss(one: Tensor, other: Tensor, batch: LayoutBatch) -> Tensor:
    """Energy score of two draws' boxes (V, 4), summed over sizes and offsets, divided by the number of symbols."""
    graph = batch.graph
    assert graph.boxes is not None
    shapes = [local_shape(graph, boxes.float()) for boxes in (one, other, graph.boxes)]
    return batch.symbol_share * energy_score(*shapes).sum() / len(graph.symbols)


def judge(discriminator: LayoutDiscriminator, graph: GraphBatch, boxes: Tensor, part: Subgraph) -> Tensor:
    """Validity (N, 1) in (0, 1) of each expression's sub-graph, with these boxes (V, 4) of the whole graph."""
    validity: Tensor = discriminator(
        graph.symbols[part.nodes], boxes[part.nodes], part.edge_index, part.edge_type, part.batch, graph.num_graphs
    )
    return validity.float()


def fooling_loss(discriminator: LayoutDiscriminator, batch: LayoutBatch, fake_boxes: Tensor) -> Tensor:
    """Squared error of the fakes' validity towards 1."""
    return (judge(discriminator, batch.fakes, fake_boxes, batch.fooling) - 1).square().mean()


def discriminator_loss(discriminator: LayoutDiscriminator, batch: LayoutBatch, fake_boxes: Tensor) -> Tensor:
    """Squared errors of real validity towards 1 and of the fakes' towards 0, halved."""
    assert batch.graph.boxes is not None
    real = judge(discriminator, batch.graph, batch.graph.boxes, batch.real)
    fake = judge(discriminator, batch.fakes, fake_boxes, batch.fake)
    return ((real - 1).square().mean() + fake.square().mean()) / 2
