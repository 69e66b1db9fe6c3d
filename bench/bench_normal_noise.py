"""normal_noise beside what image noise was drawn with before: a stream of numpy's a sample, stacked and copied.

``randn`` is torch.randn, for orientation: numbers that depend on what was drawn before them. Neither baseline has our
numbers, so what is compared before timing is the kernel and the reference, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hmeg import ops, reference
from hmeg.streams import Purpose, stream

from .measure import Case, measure
from .subjects import DEVICE, implementation

IMAGES = 8
SHAPES = {"base8": (32, 256, 256), "small8": (2, 256, 256)}  # noise channels and pixels of the two configurations
SUBJECTS = ("eager", "randn", "reference", "cpu-avx2", "cpu", "cuda", "triton")


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("workload", SHAPES)
def test_normal_noise(benchmark: Any, workload: str, subject: str) -> None:
    shape = SHAPES[workload]
    indices = torch.arange(IMAGES, device=DEVICE)

    def numpys(indices: Tensor) -> Tensor:
        streams = (stream(0, index, Purpose.IMAGE) for index in range(IMAGES))
        return torch.from_numpy(np.stack([s.standard_normal(shape, dtype=np.float32) for s in streams])).to(DEVICE)

    def randn(indices: Tensor) -> Tensor:
        return torch.randn((IMAGES, *shape), device=DEVICE)

    def ours(indices: Tensor, backend: str) -> Tensor:
        return ops.normal_noise(indices, 0, shape, backend=backend)

    def written_out(indices: Tensor) -> Tensor:
        return reference.normal_noise(indices, 0, shape)

    function: Callable[[Tensor], Tensor] = randn
    if subject != "randn":
        function = implementation(subject, "normal_noise", eager=numpys, reference=written_out, op=ours)
    beside = function if subject in ("eager", "randn") else written_out
    tolerance = math.inf if subject in ("eager", "randn") else 0.0
    case = Case(f"normal_noise/{workload}/forward", lambda: [beside(indices)], tolerance)
    measure(benchmark, case, subject, lambda: [function(indices)])
