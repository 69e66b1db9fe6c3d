"""box_layout beside its published formulation: sampled masks times features, then a scatter-add.

The subject ``cpu-apart`` is what the fusion saves: box_soft_mask and compose_layout, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from hmeg import ops, reference

from . import bench_box_soft_mask, bench_compose_layout
from .measure import Case, measure, train
from .subjects import DEVICE, SUBJECTS, implementation
from .workloads import crohme

SIZE = bench_box_soft_mask.SIZE
CHANNELS = 128
WORKLOADS = {f"crohme{graphs}": crohme(graphs) for graphs in (32, 1)}


def published(features: Tensor, boxes: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """Both published formulations, one after the other."""
    return bench_compose_layout.published(bench_box_soft_mask.published(boxes), features, batch, num_graphs)


def apart(features: Tensor, boxes: Tensor, batch: Tensor, *, num_graphs: int, backend: str) -> Tensor:
    """Both operators, one after the other."""
    masks = ops.box_soft_mask(boxes, SIZE, backend=backend)
    return ops.compose_layout(masks, features, batch, num_graphs, backend=backend)


@pytest.mark.parametrize("subject", [*SUBJECTS, "cpu-apart"])
@pytest.mark.parametrize("direction", ["forward", "train"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_box_layout(benchmark: Any, workload: str, direction: str, subject: str) -> None:
    work, generator = WORKLOADS[workload], torch.Generator().manual_seed(0)
    boxes, batch, graphs = work.boxes.to(DEVICE), work.batch.to(DEVICE), work.num_graphs
    features = torch.randn(len(boxes), CHANNELS, generator=generator).to(DEVICE)
    eager = partial(published, num_graphs=graphs)
    function = implementation(
        subject.removesuffix("-apart"),
        "box_layout",
        eager=eager,
        reference=partial(reference.box_layout, size=SIZE, num_graphs=graphs),
        op=partial(apart, num_graphs=graphs)
        if subject == "cpu-apart"
        else partial(ops.box_layout, size=SIZE, num_graphs=graphs),
    )
    baseline: Callable[[], Any]
    if direction == "forward":
        baseline, timed = lambda: [eager(features, boxes, batch)], lambda: [function(features, boxes, batch)]
    else:
        grad = torch.randn(graphs, CHANNELS, *SIZE, generator=generator).to(DEVICE)
        baseline, timed = (
            train(lambda f, b, paint=paint: paint(f, b, batch), [features, boxes], grad) for paint in (eager, function)
        )
    # A position in a box is off by 2^-24 / side in float32, and its ramp rises by 8; up to 128 channels add up.
    case = Case(f"box_layout/{workload}/{direction}", baseline, tolerance=1e-4)
    measure(benchmark, case, subject, timed)
