"""crop_boxes beside its published formulation: a copy of its image for every symbol, then grid_sample."""

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

IMAGE = (3, 256, 256)
CROP = (32, 32)
WORKLOADS = {f"crohme{graphs}": crohme(graphs) for graphs in (32, 1)}
# As they come from a data loader, and as the trainer's decoder makes them.
FORMATS = {"": torch.contiguous_format, "-channels-last": torch.channels_last}


def published(images: Tensor, boxes: Tensor, batch: Tensor) -> Tensor:
    """Bilinear samples on a grid from corner to corner of every box, out of its own copy of the image."""
    height, width = CROP
    corners = 2 * boxes - 1
    x = torch.linspace(0, 1, width, device=boxes.device)
    y = torch.linspace(0, 1, height, device=boxes.device)
    grid_x = corners[:, 0:1] * (1 - x) + corners[:, 2:3] * x
    grid_y = corners[:, 1:2] * (1 - y) + corners[:, 3:4] * y
    grid = torch.stack([grid_x[:, None, :].expand(-1, height, -1), grid_y[:, :, None].expand(-1, -1, width)], dim=3)
    return F.grid_sample(images[batch], grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("direction", ["forward", "train"])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_crop_boxes(benchmark: Any, workload: str, memory_format: str, direction: str, subject: str) -> None:
    work, generator = WORKLOADS[workload], torch.Generator().manual_seed(0)
    images = torch.rand(work.num_graphs, *IMAGE, generator=generator)
    images = images.to(DEVICE, memory_format=FORMATS[memory_format])
    boxes, batch = work.boxes.to(DEVICE), work.batch.to(DEVICE)
    function = implementation(
        subject,
        "crop_boxes",
        eager=published,
        reference=partial(reference.crop_boxes, size=CROP),
        op=partial(ops.crop_boxes, size=CROP),
    )
    baseline: Callable[[], Any]
    if direction == "forward":
        baseline, timed = lambda: [published(images, boxes, batch)], lambda: [function(images, boxes, batch)]
    else:
        grad = torch.randn(len(boxes), IMAGE[0], *CROP, generator=generator).to(DEVICE)
        baseline, timed = (
            train(lambda i, b, f=f: f(i, b, batch), [images, boxes], grad) for f in (published, function)
        )
    # Positions in float32 are off by up to 2^-24 x 256 pixels, and a random image rises by 1 a pixel; the gradient of
    # a box sums 3072 such slopes times 256 pixels.
    case = Case(f"crop_boxes/{workload}{memory_format}/{direction}", baseline, tolerance=1e-4)
    measure(benchmark, case, subject, timed)
