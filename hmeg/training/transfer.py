"""Moving whole batches: every tensor of nested dataclasses at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


def pinned(batch: T) -> T:
    """A copy in page-locked memory, from where a GPU fetches on its own."""
    return _each(batch, lambda tensor: tensor.pin_memory())


def to_device(batch: T, device: str) -> T:
    """The same batch on a device; from pinned memory without waiting for the copy."""
    return _each(batch, lambda tensor: tensor.to(device, non_blocking=True))


def _each(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{entry.name: _each(getattr(value, entry.name), function) for entry in fields(value)})
    return value
