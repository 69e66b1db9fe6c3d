"""box_soft_mask beside its published formulation: sampling an 8 x 8 image of ones, stretched over the box."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hmeg import ops, reference

from .measure import Case, measure, train
from .subjects import DEVICE, SUBJECTS, implementation
from .workloads import crohme

SIZE = (64, 64)
# The large batch is a GPU's; on a CPU it measures the allocator.
WORKLOADS = {f"crohme{graphs}": crohme(graphs) for graphs in ((32, 1, 256) if DEVICE == "cuda" else (32, 1))}


def published(boxes: Tensor) -> Tensor:
    """Bilinear, zero-padded, half-pixel samples of ones over each box, on the grid of the canvas."""
    height, width = SIZE
    x = torch.linspace(0, 1, width, device=boxes.device)
    y = torch.linspace(0, 1, height, device=boxes.device)
    t = (x[None, :] - boxes[:, 0:1]) / (boxes[:, 2:3] - boxes[:, 0:1])
    u = (y[None, :] - boxes[:, 1:2]) / (boxes[:, 3:4] - boxes[:, 1:2])
    grid = torch.stack(torch.broadcast_tensors(t[:, None, :], u[:, :, None]), dim=-1) * 2 - 1
    ones = torch.ones(len(boxes), 1, 8, 8, device=boxes.device)
    return F.grid_sample(ones, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("direction", ["forward", "train"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_box_soft_mask(benchmark: Any, workload: str, direction: str, subject: str) -> None:
    boxes = WORKLOADS[workload].boxes.to(DEVICE)
    function = implementation(
        subject,
        "box_soft_mask",
        eager=published,
        reference=partial(reference.box_soft_mask, size=SIZE),
        op=partial(ops.box_soft_mask, size=SIZE),
    )
    baseline: Callable[[], Any]
    if direction == "forward":
        baseline, timed = lambda: [published(boxes)], lambda: [function(boxes)]
    else:
        grad = torch.randn(len(boxes), 1, *SIZE, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        baseline, timed = train(published, [boxes], grad), train(function, [boxes], grad)
    measure(benchmark, Case(f"box_soft_mask/{workload}/{direction}", baseline, tolerance=1e-4), subject, timed)
