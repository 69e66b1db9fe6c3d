"""Checks of operators' arguments, from metadata alone: no synchronisation with a device.

All raise ValueError or TypeError naming the operator, the argument, what came and what is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MAX_SIDE = 2**24  # grid positions are computed in float32, which counts exactly so far


class Arguments:
    """Checks one call's tensors against each other: dimensions by name, one floating type, one device."""

    def __init__(self, operator: str) -> None:
        self._operator = operator
        self._dims: dict[str, int] = {}
        self._first: tuple[str, Tensor] | None = None
        self._first_floating: tuple[str, Tensor] | None = None

    def floating(self, name: str, value: Tensor, *shape: str | int) -> None:
        """``value`` must be a floating tensor of the given shape and of the same type as the others."""
        self._tensor(name, value, shape)
        if not value.is_floating_point():
            raise TypeError(f"{self._operator}: {name} must be a floating-point tensor, got {value.dtype}")
        if self._first_floating is None:
            self._first_floating = (name, value)
        elif value.dtype != self._first_floating[1].dtype:
            other, first = self._first_floating
            raise TypeError(f"{self._operator}: {name} must have the type of {other}, {first.dtype}, got {value.dtype}")

    def indices(self, name: str, value: Tensor, *shape: str | int) -> None:
        """``value`` must be an int64 tensor of the given shape."""
        self._tensor(name, value, shape)
        if value.dtype != torch.int64:
            raise TypeError(f"{self._operator}: {name} must be int64, got {value.dtype}")

    def dim(self, name: str, value: int) -> None:
        """Fixes a dimension that later shapes refer to."""
        self._dims[name] = value

    def _tensor(self, name: str, value: Tensor, shape: Sequence[str | int]) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"{self._operator}: {name} must be a tensor, got {type(value).__name__}")
        if self._first is None:
            self._first = (name, value)
        elif value.device != self._first[1].device:
            other, first = self._first
            raise ValueError(
                f"{self._operator}: {name} must be on the device of {other}, {first.device}, got {value.device}"
            )
        dims = dict(self._dims)
        fits = value.dim() == len(shape)
        if fits:
            for want, have in zip(shape, value.shape, strict=True):
                if have != (dims.setdefault(want, have) if isinstance(want, str) else want):
                    fits = False
        if not fits:
            wanted = ", ".join(f"{d} = {self._dims[d]}" if d in self._dims else str(d) for d in shape)
            raise ValueError(f"{self._operator}: {name} must have shape ({wanted}), got {tuple(value.shape)}")
        self._dims = dims


def check_size(operator: str, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width, two positive integers."""
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(f"{operator}: size must be (height, width), got {size!r}")
    height, width = size
    for side in (height, width):
        if not isinstance(side, (int, torch.SymInt)):
            raise TypeError(f"{operator}: size must be two integers (height, width), got {size!r}")
        if not 1 <= side <= MAX_SIDE:
            raise ValueError(f"{operator}: size must be two integers from 1 to {MAX_SIDE}, got {tuple(size)}")
    return height, width


def check_count(operator: str, name: str, value: int) -> int:
    """A number that is at least 0."""
    if not isinstance(value, (int, torch.SymInt)):
        raise TypeError(f"{operator}: {name} must be an integer, got {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{operator}: {name} must be at least 0, got {value}")
    return value
