"""What is measured: the baselines, and an operator on each of its backends, under the names that results carry.

eager      the published formulation, written out in PyTorch (baseline)
compile    torch.compile of hmeg.reference (baseline)
reference  hmeg.reference as the backend runs it
cpu-avx2   the C++ kernels held to AVX2, where the processor would run wider ones
cpu        the C++ kernels at their best
cuda, triton
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hmeg import backends
from hmeg.backends.cpu import CpuBackend
from hmeg.backends.native.extension import native_extension

BASELINES = ("eager", "compile")
SUBJECTS = (*BASELINES, "reference", "cpu-avx2", "cpu", "cuda", "triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def implementation(
    subject: str, operator: str, *, eager: Callable[..., Any], reference: Callable[..., Any], op: Callable[..., Any]
) -> Callable[..., Any]:
    """The function that a subject's name stands for: of tensors, on DEVICE. Skips, saying why, where it cannot run.

    eager, reference   functions of the same tensors
    op                 likewise, with the keyword ``backend``
    """
    if subject == "eager":
        return eager
    if subject == "compile":
        # Every case starts afresh: what was compiled for others counts towards dynamo's limit, past which it would run
        # uncompiled and say so in a warning only.
        torch._dynamo.reset()
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        return torch.compile(reference)
    if subject == "cpu-avx2":
        _register_avx2()
    reason = backends._backends[subject].why_not(operator, [torch.zeros(1, device=DEVICE)])
    if reason:
        pytest.skip(f"{subject}: {reason}")

    def run(*tensors: Tensor) -> Any:
        return op(*tensors, backend=subject)

    return run


def _register_avx2() -> None:
    """Makes the CPU backend selectable with its variant pinned to AVX2."""
    extension, reason = native_extension()
    if extension is None:
        pytest.skip(f"cpu-avx2: {reason}")
    variants = extension.build_info()["cpu_variants"]
    if "avx2" not in variants:
        pytest.skip("cpu-avx2: this processor or build has no AVX2")
    backend = CpuBackend(variants.index("avx2"))
    backend.name = "cpu-avx2"
    backends.register(backend)
