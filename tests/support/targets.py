"""Every backend that operators are tested on, under the names that tests use.

reference · cpu-portable, cpu-avx2, cpu-avx512, cpu-amx (one instruction set each; AMX is AVX-512 but for products of
matrices, so only operators that have those are tested on it) · emulated-ascending, -descending, -random
(kernels/cuda through the emulator, in three orders) · triton (interpreted unless there is a GPU) · cuda
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache

import pytest
import torch

from hmeg import backends
from hmeg.backends.base import Backend
from hmeg.backends.cpu import CpuBackend
from hmeg.backends.cuda import CudaBackend
from hmeg.backends.reference import ReferenceBackend
from hmeg.backends.triton import TritonBackend
from tests.emulation.device import emulated_backend
from tests.emulation.library import ORDERS, compiler

CPU_VARIANTS = ("portable", "avx2", "avx512")
AMX_OPERATORS = ("triple_message",)
_CLASSES = {
    "reference": ReferenceBackend,
    **{f"cpu-{variant}": CpuBackend for variant in (*CPU_VARIANTS, "amx")},
    **{f"emulated-{order}": CudaBackend for order in ORDERS},
    "triton": TritonBackend,
    "cuda": CudaBackend,
}


@dataclass(frozen=True)
class Target:
    """A backend under test and the device its tensors live on."""

    name: str
    device: str
    dtypes: tuple[torch.dtype, ...]
    interpreted: bool = False  # by Triton, slowly; and bfloat16 is cut off there, not rounded


def targets(operator: str) -> list[str]:
    """Names of all targets that have kernels for ``operator``, whether or not they can run here."""
    names = [name for name, cls in _CLASSES.items() if operator in cls.operators]
    return [name for name in names if name != "cpu-amx" or operator in AMX_OPERATORS]


@cache
def _prepared(name: str) -> tuple[Target, Backend] | str:
    """The target and its backend, or why it cannot run here."""
    kind, _, detail = name.partition("-")
    backend: Backend
    if kind == "cpu":
        backend = CpuBackend((*CPU_VARIANTS, "amx").index(detail))
        backend.name = name
    elif kind == "emulated":
        if compiler() is None:
            return "no C++ compiler to build the emulator with"
        backend = emulated_backend(detail)
    else:
        backend = backends._backends[name]
    reason = backend.unavailable()
    if reason:
        return reason
    if kind == "cpu" and detail not in importlib.import_module("hmeg._C").build_info()["cpu_variants"]:
        return f"this processor does not run {detail}"
    on_gpu = kind == "cuda" or (kind == "triton" and torch.cuda.is_available())
    interpreted = kind == "triton" and not on_gpu
    return Target(name, "cuda" if on_gpu else "cpu", backend.dtypes, interpreted), backend


def target(name: str) -> Target:
    """The target of that name, registered for this test; skips the test, saying why, where it cannot run."""
    prepared = _prepared(name)
    if isinstance(prepared, str):
        pytest.skip(f"{name}: {prepared}")
    chosen, backend = prepared
    backends.register(backend)  # conftest.py takes it back after the test
    return chosen
