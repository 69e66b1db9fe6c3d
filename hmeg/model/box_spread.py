"""Do boxes differ from draw to draw as much as writers do? The energy score: a measure of layouts, and a loss."""

from __future__ import annotations

import torch
from torch import Tensor

from .graph_batch import GraphBatch

SMALLEST_SIDE = 1 / 256  # narrower ones count alike where logarithms are taken
LOG_SCALE = 0.1  # a side's logarithm beside the side itself: symbols are about a tenth of the image


def local_shape(graph: GraphBatch, boxes: Tensor) -> Tensor:
    """What symbols look like to their neighbours: sizes, and where related symbols stand to each other.

    boxes (V, 4) -> (2 V + 5 R, 2), x and y: sides of every symbol; LOG_SCALE times their logarithms, for a symbol
    squeezed to a line is far off even where it is small; then for each of the R forward relations the way from its
    subject's centre to its object's, by how much the logarithms of their sides differ, as above, and the ways between
    edges that should keep apart or in line: from left and top to left and top, from right and bottom to right and
    bottom, and the gap from right and bottom to left and top. Where the whole expression stands plays no part.
    Differentiable.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    subject, object_ = graph.edge_index[:, graph.edge_type % 2 == 1]  # odd types are forward relations
    centre, sides = (low + high) / 2, high - low
    edges = ((low, low), (high, high), (high, low))
    logarithms = LOG_SCALE * sides.clamp(min=SMALLEST_SIDE).log()
    ways = [to[object_] - of[subject] for of, to in ((centre, centre), (logarithms, logarithms), *edges)]
    return torch.cat([sides, logarithms, *ways])


def energy_score(one: Tensor, other: Tensor, true: Tensor) -> Tensor:
    """|x - y| - |x - x'| / 2 of every row (M,), averaged over both draws x and x'; all (M, D), differentiable.

    Smallest in expectation where draws are distributed as the truth is (Gneiting and Raftery, "Strictly Proper Scoring
    Rules, Prediction, and Estimation", 2007). May be negative.
    """
    off = (_length(one - true) + _length(other - true)) / 2
    return off - _length(one - other) / 2


def _length(rows: Tensor) -> Tensor:
    return rows.square().sum(dim=1).add(1e-12).sqrt()  # where two draws agree the gradient is 0, not infinite
