"""refine_masks beside its published formulation: coordinate ramps through torch's convolutions and BatchNorm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hmeg import ops, reference
from hmeg.ops import MaskWeights

from .measure import Case, measure, train
from .subjects import DEVICE, SUBJECTS, implementation
from .workloads import crohme

SIZE = (64, 64)
HIDDEN = 64
WORKLOADS = {f"crohme{graphs}": crohme(graphs) for graphs in (32, 1)}


def weights(hidden: int = HIDDEN) -> MaskWeights:
    """As torch initialises these layers, statistics near those of such layers."""
    generator = torch.Generator().manual_seed(0)

    def uniform(fan_in: int, *shape: int) -> Tensor:
        return ((2 * torch.rand(shape, generator=generator) - 1) / fan_in**0.5).to(DEVICE)

    one = torch.ones(hidden, device=DEVICE)
    return MaskWeights(
        conv1_weight=uniform(36, hidden, 4, 3, 3), conv1_bias=uniform(36, hidden),
        bn_weight=one + 0.1 * uniform(1, hidden), bn_bias=0.1 * uniform(1, hidden),
        running_mean=0.4 * one, running_var=0.2 * one,
        conv2_weight=uniform(9 * hidden, 1, hidden, 3, 3), conv2_bias=uniform(9 * hidden, 1),
    )  # fmt: skip


def published(boxes: Tensor, bundle: MaskWeights, training: bool) -> Tensor:
    """Distances of the grid's points from the corners, in [-1, 1] about the middle, through the network."""
    height, width = SIZE
    x = torch.linspace(0, 1, width, device=boxes.device).expand(len(boxes), height, width)
    y = torch.linspace(0, 1, height, device=boxes.device)[:, None].expand(len(boxes), height, width)
    grid = torch.stack([x, y, x, y], dim=1) - boxes[:, :, None, None]
    hidden = F.relu(F.conv2d(2 * grid - 1, bundle.conv1_weight, bundle.conv1_bias, padding=1))
    hidden = F.batch_norm(
        hidden, bundle.running_mean, bundle.running_var, bundle.bn_weight, bundle.bn_bias, training=training
    )
    return torch.sigmoid(F.conv2d(hidden, bundle.conv2_weight, bundle.conv2_bias, padding=1))


def flat(function: Callable[..., Tensor], training: bool) -> Callable[..., Tensor]:
    """``function`` of boxes and learned weights one by one, with statistics of its own."""
    statistics = weights()[4:6]

    def run(boxes: Tensor, *learned: Tensor, **backend: str) -> Tensor:
        bundle = MaskWeights(*learned[:4], *statistics, *learned[4:])
        return function(boxes, bundle, training=training, **backend)

    return run


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("direction", ["forward", "train"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_refine_masks(benchmark: Any, workload: str, direction: str, subject: str) -> None:
    training = direction == "train"
    boxes = WORKLOADS[workload].boxes.to(DEVICE)
    inputs = [boxes, *weights()[:4], *weights()[6:]]
    eager = flat(published, training)
    function = implementation(
        subject,
        "refine_masks",
        eager=eager,
        reference=flat(partial(reference.refine_masks, size=SIZE), training),
        op=flat(partial(ops.refine_masks, size=SIZE), training),
    )
    baseline: Callable[[], Any]
    if training:
        grad = torch.randn(len(boxes), 1, *SIZE, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        baseline, timed = train(eager, inputs, grad), train(function, inputs, grad)
    else:
        baseline, timed = lambda: [eager(*inputs)], lambda: [function(*inputs)]
    # Gradients of weights sum over a million pixels in float32, in another order.
    case = Case(f"refine_masks/{workload}/{direction}", baseline, tolerance=1e-3 if training else 1e-5)
    measure(benchmark, case, subject, timed)
