"""Every backend that operators are tested on, under the names that tests use.

reference · cpu-portable, cpu-avx2, cpu-avx512 (one instruction set each) · emulated-ascending, -descending, -random
(kernels/cuda through the emulator, in three orders) · triton (interpreted unless there is a GPU) · cuda
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from emulation.device import emulated_backend
from emulation.library import ORDERS, compiler

from hmeg import backends
from hmeg.backends.cpu import CpuBackend
from hmeg.backends.cuda import CudaBackend
from hmeg.backends.reference import ReferenceBackend
from hmeg.backends.triton import TritonBackend

CPU_VARIANTS = ("portable", "avx2", "avx512")
_CLASSES = {
    "reference": ReferenceBackend,
    **{f"cpu-{variant}": CpuBackend for variant in CPU_VARIANTS},
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


def targets(operator: str) -> list[str]:
    """Names of all targets that have kernels for ``operator``, whether or not they can run here."""
    return [name for name, cls in _CLASSES.items() if hasattr(cls, operator)]


@cache
def _prepared(name: str) -> Target | str:
    """The target, its backend registered, or why it cannot run here."""
    kind, _, detail = name.partition("-")
    if kind == "cpu":
        variant = CpuBackend(CPU_VARIANTS.index(detail))
        if variant.unavailable():
            return str(variant.unavailable())
        import hmeg._C

        if detail not in hmeg._C.build_info()["cpu_variants"]:
            return f"this processor does not run {detail}"
        variant.name = name
        backends.register(variant)
    elif kind == "emulated":
        if compiler() is None:
            return "no C++ compiler to build the emulator with"
        backends.register(emulated_backend(detail))
    status = backends.explain()[name]
    if not status["available"]:
        return status["reason"]
    on_gpu = kind == "cuda" or (kind == "triton" and torch.cuda.is_available())
    return Target(name, "cuda" if on_gpu else "cpu", _CLASSES[name].dtypes)


def target(name: str) -> Target:
    """The target of that name; skips the test, saying why, where it cannot run."""
    prepared = _prepared(name)
    if isinstance(prepared, str):
        pytest.skip(f"{name}: {prepared}")
    return prepared
