"""One measurement: agreement with the baseline first, then time, then memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .memory import extra_bytes
from .subjects import DEVICE

Results = Sequence[Tensor]
MAX_SECONDS = 3.0  # of timing, per subject
MIN_ROUNDS, MAX_ROUNDS = 10, 1000


@dataclass(frozen=True)
class Case:
    """A function to time in several implementations.

    name       <operator>/<workload>/<forward|train>
    baseline   the published formulation in eager PyTorch; returns outputs, then gradients
    tolerance  of results, as a share of max(1, largest |value|)
    agreement  baseline and subject to compare in place of what is timed: in float64, where gradients in float32 jump
               because some ReLU of millions stands within rounding of zero
    """

    name: str
    baseline: Callable[[], Results]
    tolerance: float
    agreement: tuple[Callable[[], Results], Callable[[], Results]] | None = None


def train(function: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor) -> Callable[[], Results]:
    """Forward and backward as one call: the output and the gradient of every input."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]

    def step() -> Results:
        output = function(*leaves)
        return [output.detach(), *torch.autograd.grad(output, leaves, grad)]

    return step


def measure(
    benchmark: Any, case: Case, subject: str, function: Callable[[], Results], rounds: int | None = None
) -> None:
    """Times ``function`` under pytest-benchmark; fails before timing where its results are not the baseline's.

    rounds  how often, for what takes seconds; None: as often as MAX_SECONDS allow, after some rounds to warm up
    """
    _check_agreement(case, subject, function)
    synchronize = torch.cuda.synchronize if DEVICE == "cuda" else _nothing

    def once() -> None:
        function()
        synchronize()

    warm_up = 0
    if rounds is None:
        once()
        seconds = max(_seconds(once) for _ in range(3))  # the slowest: a disturbed machine must not take for ever
        rounds, warm_up = int(min(max(MAX_SECONDS / seconds, MIN_ROUNDS), MAX_ROUNDS)), 5
    extra = extra_bytes(function, DEVICE)
    benchmark.extra_info.update(
        case=case.name,
        subject=subject,
        extra_bytes=extra,
        device=torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    benchmark.pedantic(once, rounds=rounds, iterations=1, warmup_rounds=warm_up)
    times = " ".join(f"{p:9.4f}" for p in np.percentile(benchmark.stats.stats.data, (20, 50, 80)) * 1e3)
    print(f"{case.name:38} {subject:12} {times} ms, {extra / 2**20:.2f} MiB extra", flush=True)


def _nothing() -> None:
    pass


def _seconds(once: Callable[[], None]) -> float:
    begin = time.perf_counter()
    once()
    return time.perf_counter() - begin


def _check_agreement(case: Case, subject: str, function: Callable[[], Results]) -> None:
    baseline, function = case.agreement or (case.baseline, function)
    for i, (got, want) in enumerate(zip(function(), baseline(), strict=True)):
        limit = case.tolerance * max(1.0, float(want.abs().max()))
        worst = float((got.double() - want.double()).abs().max())
        assert worst <= limit, f"{case.name}: result {i} of {subject} is off by {worst:.3g} (allowed {limit:.3g})"
