"""compose_layout beside its published formulation: every mask times its feature vector, then a scatter-add."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from hmeg import ops, reference

from .measure import Case, measure, train
from .subjects import DEVICE, SUBJECTS, implementation
from .workloads import crohme

SIZE = (64, 64)
CHANNELS = 128
WORKLOADS = {f"crohme{graphs}": crohme(graphs) for graphs in (32, 1)}


def published(masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """A (V, C, H, W) tensor of products, added up per expression."""
    painted = masks * features[:, :, None, None]
    layout = torch.zeros(num_graphs, *painted.shape[1:], device=painted.device)
    return layout.scatter_add(0, batch[:, None, None, None].expand_as(painted), painted)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("direction", ["forward", "train"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_compose_layout(benchmark: Any, workload: str, direction: str, subject: str) -> None:
    work, generator = WORKLOADS[workload], torch.Generator().manual_seed(0)
    boxes, batch, graphs = work.boxes.to(DEVICE), work.batch.to(DEVICE), work.num_graphs
    masks = reference.box_soft_mask(boxes, SIZE)
    features = torch.randn(len(boxes), CHANNELS, generator=generator).to(DEVICE)
    eager = partial(published, num_graphs=graphs)
    function = implementation(
        subject,
        "compose_layout",
        eager=eager,
        reference=partial(reference.compose_layout, num_graphs=graphs),
        op=partial(ops.compose_layout, num_graphs=graphs),
    )
    baseline: Callable[[], Any]
    if direction == "forward":
        baseline, timed = lambda: [eager(masks, features, batch)], lambda: [function(masks, features, batch)]
    else:
        grad = torch.randn(graphs, CHANNELS, *SIZE, generator=generator).to(DEVICE)
        baseline, timed = (
            train(lambda m, f, compose=compose: compose(m, f, batch), [masks, features], grad)
            for compose in (eager, function)
        )
    # Up to 40 masks, 128 channels or 4096 pixels are added in float32.
    case = Case(f"compose_layout/{workload}/{direction}", baseline, tolerance=1e-5)
    measure(benchmark, case, subject, timed)
