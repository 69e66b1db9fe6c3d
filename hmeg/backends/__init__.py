"""Backends run the operators; this module chooses one.

Who asks, in this order: the operator's ``backend=`` argument, the innermost ``using(...)`` context, the environment
variable HMEG_BACKEND, else nobody: then the first backend of ``AUTOMATIC`` that can run the operator on the tensors'
device. A backend asked for by name never falls back to another: ``BackendError`` says why it cannot run.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypedDict

from torch import Tensor

from .base import Backend, BackendError
from .cpu import CpuBackend
from .cuda import CudaBackend
from .reference import ReferenceBackend
from .triton import TritonBackend

ENVIRONMENT_VARIABLE = "HMEG_BACKEND"

# Preference by device type.
AUTOMATIC = {"cuda": ("cuda", "triton", "reference"), "cpu": ("cpu", "reference")}

# The operators of the models.
OPERATORS = (
    "box_soft_mask", "refine_masks", "compose_layout", "box_layout", "refine_layout", "triple_message",
    "attention_readout", "crop_boxes", "normal_noise",
)  # fmt: skip

_backends: dict[str, Backend] = {}
_warned = False
_override: ContextVar[str | None] = ContextVar("hmeg_backend", default=None)


class ReferenceWarning(UserWarning):
    """Nobody asked for the reference, but there are no kernels for the device: given once in a process."""


class BackendStatus(TypedDict):
    """What ``explain`` tells of one backend."""

    available: bool
    reason: str  # why it is not available; empty if it is
    operators: tuple[str, ...]  # the operators it has kernels for
    details: str  # how it was built, which instruction set or device it uses


def register(backend: Backend) -> None:
    """Makes a backend selectable by its name."""
    _backends[backend.name] = backend


def names() -> tuple[str, ...]:
    """Names of all backends, available or not."""
    return tuple(_backends)


@contextmanager
def using(name: str) -> Iterator[None]:
    """Within this context operators run on the backend ``name`` unless their ``backend=`` says otherwise.

    Holds for the current thread or task. Compiled functions (torch.compile) look at it when they run.
    Raises ValueError if there is no backend of that name.
    """
    _named(name)
    token = _override.set(name)
    try:
        yield
    finally:
        _override.reset(token)


def select(operator: str, tensors: Sequence[Tensor], requested: str | None = None) -> Backend:
    """The backend that runs ``operator`` on ``tensors``; ``requested`` is the operator's ``backend=`` argument.

    Raises ValueError for an unknown name and BackendError where the backend asked for cannot run the operator.
    """
    name = requested or _override.get() or os.environ.get(ENVIRONMENT_VARIABLE)
    if name:
        backend = _backends.get(name) or _named(name)
        reason = backend.why_not(operator, tensors)
        if reason:
            raise BackendError(f"backend '{name}' cannot run {operator}: {reason}")
        return backend
    device = tensors[0].device.type
    if device not in AUTOMATIC:
        raise BackendError(f"no backend runs {operator} on device '{device}'; devices: {', '.join(AUTOMATIC)}")
    reasons: list[str] = []
    for candidate in AUTOMATIC[device]:
        backend = _backends[candidate]
        reason = backend.why_not(operator, tensors)
        if not reason:
            if reasons and backend.name == ReferenceBackend.name:
                _warn_of_reference(device)
            return backend
        reasons.append(f"{candidate}: {reason}")
    raise BackendError(f"no backend can run {operator} here ({'; '.join(reasons)})")


def _warn_of_reference(device: str) -> None:
    """Says once that no kernels are there for a device; nothing where they only do not run the operator asked for."""
    global _warned
    reasons = [(name, _backends[name].unavailable()) for name in AUTOMATIC[device] if name != ReferenceBackend.name]
    if _warned or not all(reason for _, reason in reasons):
        return
    _warned = True
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons)
    warnings.warn(
        f"hmeg's operators run in plain PyTorch on {device}, many times slower than by kernels ({told}); "
        f"backend='reference' or {ENVIRONMENT_VARIABLE}=reference asks for that and is not warned of",
        ReferenceWarning,
        stacklevel=2,
    )


def explain() -> dict[str, BackendStatus]:
    """For each backend: whether it is available, why not, the operators it runs, and how it was built."""
    result: dict[str, BackendStatus] = {}
    for name, backend in _backends.items():
        reason = backend.unavailable() or ""
        result[name] = BackendStatus(
            available=not reason,
            reason=reason,
            operators=tuple(op for op in OPERATORS if backend.has(op)),
            details="" if reason else backend.details(),
        )
    return result


def _named(name: str) -> Backend:
    if name not in _backends:
        raise ValueError(f"there is no backend '{name}'; choose one of {', '.join(_backends)}")
    return _backends[name]


for _backend in (ReferenceBackend(), CpuBackend(), CudaBackend.native(), TritonBackend()):
    register(_backend)

__all__ = ["AUTOMATIC", "OPERATORS", "Backend", "BackendError", "BackendStatus", "ReferenceWarning", "explain", "names",
           "register", "select", "using"]  # fmt: skip
