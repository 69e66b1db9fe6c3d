"""What a backend is: a name, a method per operator it runs, and reasons where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, ClassVar

import torch
from torch import Tensor

from hmeg.refusals import Refusal


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The type kernels sum in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class BackendError(Refusal):
    """A backend was asked for that cannot run the operator; the message says why."""


class Backend:
    """Base of all backends.

    A backend has a method ``<operator>`` and a method ``<operator>_backward`` for each operator it runs; they take the
    arguments of the registered operator (hmeg/ops) without the last one, ``backend``, and return new, contiguous
    tensors. Operators are run through the table of these methods.

    operators  name of an operator, or of its backward pass -> the method, to be called with the backend
    """

    name: str
    device_types: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]
    # What it was found to run: to ask again, and for a device's name, takes as long as much of a small kernel's call.
    _fitting: frozenset[tuple[torch.device, torch.dtype]] = frozenset()
    operators: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.operators = {}
        for base in reversed(cls.__mro__):
            cls.operators |= _operators_of(base)

    @classmethod
    def add(cls, methods: type) -> None:
        """Adds the operators that the class ``methods`` defines to this backend, and to those derived from it."""
        cls.operators |= _operators_of(methods)
        for derived in cls.__subclasses__():
            derived.add(methods)

    def unavailable(self) -> str | None:
        """Why nothing runs on this backend here, or None."""
        return None

    def details(self) -> str:
        """How it was built and what it runs on, for people."""
        return ""

    def has(self, operator: str) -> bool:
        """Whether there is a kernel for ``operator``."""
        return operator in self.operators

    def why_not(self, operator: str, tensors: Sequence[Tensor]) -> str | None:
        """Why this backend cannot run ``operator`` on ``tensors``, or None. Looks at metadata only."""
        if tensors and operator in self.operators:
            for tensor in tensors:
                if (tensor.device, tensor.dtype) not in self._fitting:
                    break
            else:
                return None
        reason = self.unavailable()
        if reason:
            return reason
        if operator not in self.operators:
            return "it has no kernel for it yet"
        for tensor in tensors:
            if tensor.device.type not in self.device_types:
                return f"it takes tensors on {' or '.join(self.device_types)}, not on {tensor.device.type}"
            if tensor.is_floating_point() and tensor.dtype not in self.dtypes:
                supported = ", ".join(str(d).removeprefix("torch.") for d in self.dtypes)
                return f"it takes {supported}, not {str(tensor.dtype).removeprefix('torch.')}"
        self._fitting |= {(tensor.device, tensor.dtype) for tensor in tensors}
        return None


# What every backend has besides operators.
_OWN = frozenset(name for name in vars(Backend) if not name.startswith("_"))


def _operators_of(cls: type) -> dict[str, Callable[..., Any]]:
    """The public methods of a class that are operators."""
    return {
        name: method
        for name, method in vars(cls).items()
        if isinstance(method, FunctionType) and not name.startswith("_") and name not in _OWN
    }
