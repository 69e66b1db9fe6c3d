"""The emulator as a device of hmeg.backends.cuda: the adapter and the .cu source of a GPU, on CPU tensors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor

from hmeg.backends.cuda import CudaBackend

from .library import ROOT, Library, build


class EmulatedDevice:
    """Launches kernels of the emulator library, in one order."""

    device_type = "cpu"

    def __init__(self, order: str) -> None:
        self._library = Library(build(list((ROOT / "kernels" / "cuda").glob("*.cu")), "kernels"))
        self._order = order

    def unavailable(self) -> str | None:
        return None

    def details(self) -> str:
        return f"emulated, {self._order}"

    def launcher(self, name: str) -> Callable[..., Any]:
        self._library.set_order(self._order)
        return partial(self._library.call, f"hmeg_cuda_{name}")

    def guard(self, tensor: Tensor) -> AbstractContextManager[Any]:
        return nullcontext()

    def stream(self, tensor: Tensor) -> int:
        return 0


def emulated_backend(order: str) -> CudaBackend:
    """The backend ``emulated-<order>``."""
    return CudaBackend(f"emulated-{order}", EmulatedDevice(order))
