"""The operators as the published code's formulation has them, in eager PyTorch, in the place of hmeg.ops.

Networks and losses are the same modules; inside :func:`published_operators` everything they ask of ``hmeg.ops`` is done
with gathers, concatenations, convolutions, grid_sample and index_add, and differentiated by autograd, and the decoder
upsamples and concatenates before it convolves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmeg import ops
from hmeg.model import upsampling
from hmeg.reference.weights import MaskWeights, TripleWeights


def box_soft_mask(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    x = torch.linspace(0, 1, width, device=boxes.device)
    y = torch.linspace(0, 1, height, device=boxes.device)
    t = (x[None, :] - boxes[:, 0:1]) / (boxes[:, 2:3] - boxes[:, 0:1])
    u = (y[None, :] - boxes[:, 1:2]) / (boxes[:, 3:4] - boxes[:, 1:2])
    grid = torch.stack(torch.broadcast_tensors(t[:, None, :], u[:, :, None]), dim=-1) * 2 - 1
    return F.grid_sample(torch.ones(len(boxes), 1, 8, 8, device=boxes.device), grid, align_corners=False)


def refine_masks(
    boxes: Tensor, weights: MaskWeights, size: tuple[int, int], training: bool, momentum: float = 0.1, eps: float = 1e-5
) -> Tensor:
    height, width = size
    x = torch.linspace(0, 1, width, device=boxes.device).expand(len(boxes), height, width)
    y = torch.linspace(0, 1, height, device=boxes.device)[:, None].expand(len(boxes), height, width)
    x0, y0, x1, y1 = boxes[:, :, None, None].unbind(1)
    ramps = 2 * torch.stack([x - x0, y - y0, x - x1, y - y1], dim=1) - 1
    hidden = F.relu(F.conv2d(ramps, weights.conv1_weight, weights.conv1_bias, padding=1))
    hidden = F.batch_norm(
        hidden, weights.running_mean, weights.running_var, weights.bn_weight, weights.bn_bias, training, momentum, eps
    )
    return torch.sigmoid(F.conv2d(hidden, weights.conv2_weight, weights.conv2_bias, padding=1))


def compose_layout(masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    each = masks * features[:, :, None, None]
    return each.new_zeros((num_graphs, *each.shape[1:])).index_add(0, batch, each)


def crop_boxes(images: Tensor, boxes: Tensor, batch: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    corners = 2 * boxes - 1
    x = torch.linspace(0, 1, width, device=boxes.device)
    y = torch.linspace(0, 1, height, device=boxes.device)
    grid_x = corners[:, 0:1] * (1 - x) + corners[:, 2:3] * x
    grid_y = corners[:, 1:2] * (1 - y) + corners[:, 3:4] * y
    grid = torch.stack([grid_x[:, None, :].expand(-1, height, -1), grid_y[:, :, None].expand(-1, -1, width)], dim=3)
    return F.grid_sample(images[batch], grid, align_corners=False)


def triple_message(
    x: Tensor,
    edge_attr: Tensor,
    edge_index: Tensor,
    weights: TripleWeights,
    pooling: str = "avg",
    *,
    edge_type: Tensor | None = None,
    structure: Any = None,
    return_edges: bool = True,
) -> tuple[Tensor, Tensor]:
    """``structure`` is what hmeg.ops knows of the edges beforehand; nothing of the kind is used here."""
    assert pooling == "avg"
    edges = edge_attr if edge_type is None else edge_attr[edge_type]
    subject, object_ = edge_index
    w1, b1, w2, b2, w3, b3, w4, b4 = weights
    triples = torch.cat([x[subject], edges, x[object_]], dim=1)
    hidden = F.relu(F.linear(F.relu(F.linear(triples, w1, b1)), w2, b2))
    width = w3.shape[1]
    of_subject, new_edges, of_object = hidden.split([width, hidden.shape[1] - 2 * width, width], dim=1)
    pooled = x.new_zeros((len(x), width)).index_add(0, subject, of_subject).index_add(0, object_, of_object)
    ones = x.new_ones(len(subject))
    count = x.new_zeros(len(x)).index_add(0, subject, ones).index_add(0, object_, ones)
    pooled = pooled / count.clamp(min=1)[:, None]
    return F.relu(F.linear(F.relu(F.linear(pooled, w3, b3)), w4, b4)), new_edges


def attention_readout(x: Tensor, weight: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    count = x.new_zeros(num_graphs).index_add(0, batch, x.new_ones(len(x)))
    mean = x.new_zeros((num_graphs, x.shape[1])).index_add(0, batch, x) / count.clamp(min=1)[:, None]
    context = torch.tanh(mean @ weight)
    score = torch.sigmoid((x * context[batch]).sum(dim=1, keepdim=True))
    return x.new_zeros((num_graphs, x.shape[1])).index_add(0, batch, score * x)


def conv_beside(conv: nn.Conv2d, x: Tensor, features: Tensor) -> Tensor:
    upsampled = F.interpolate(features, scale_factor=2, mode="nearest")
    convolved: Tensor = conv(torch.cat([x, upsampled], dim=1))
    return convolved


_OPERATORS = (box_soft_mask, refine_masks, compose_layout, crop_boxes, triple_message, attention_readout)


@contextmanager
def published_operators() -> Iterator[None]:
    """Within it the networks' operators are those of this module."""
    places = [(ops, function) for function in _OPERATORS] + [(upsampling, conv_beside)]
    before = [getattr(place, function.__name__) for place, function in places]
    for place, function in places:
        setattr(place, function.__name__, function)
    try:
        yield
    finally:
        for (place, function), original in zip(places, before, strict=True):
            setattr(place, function.__name__, original)
