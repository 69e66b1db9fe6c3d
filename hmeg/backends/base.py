"""What a backend is: a name, a method per operator it runs, and reasons where it cannot."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class BackendError(RuntimeError):
    """A backend was asked for that cannot run the operator; the message says why."""


class Backend:
    """Base of all backends.

    A backend has a method ``<operator>`` and a method ``<operator>_backward`` for each operator it runs; they take the
    arguments of the registered operator (hmeg/ops) without the last one, ``backend``, and return new, contiguous
    tensors.
    """

    name: str
    device_types: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]

    def unavailable(self) -> str | None:
        """Why nothing runs on this backend here, or None."""
        return None

    def details(self) -> str:
        """How it was built and what it runs on, for people."""
        return ""

    def has(self, operator: str) -> bool:
        """Whether there is a kernel for ``operator``."""
        return hasattr(self, operator)

    def why_not(self, operator: str, tensors: Sequence[Tensor]) -> str | None:
        """Why this backend cannot run ``operator`` on ``tensors``, or None. Looks at metadata only."""
        reason = self.unavailable()
        if reason:
            return reason
        if not self.has(operator):
            return "it has no kernel for it yet"
        for tensor in tensors:
            if tensor.device.type not in self.device_types:
                return f"it takes tensors on {' or '.join(self.device_types)}, not on {tensor.device.type}"
            if tensor.is_floating_point() and tensor.dtype not in self.dtypes:
                supported = ", ".join(str(d).removeprefix("torch.") for d in self.dtypes)
                return f"it takes {supported}, not {str(tensor.dtype).removeprefix('torch.')}"
        return None
