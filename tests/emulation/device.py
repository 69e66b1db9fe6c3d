"""The emulator as a device of hmeg.backends.cuda: the adapter and the .cu source of a GPU, on CPU tensors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import Any

import torch
from torch import Tensor

from hmeg.backends.cuda import CudaBackend

from .library import ROOT, Library, build

# Items before and after every tensor a kernel is given; a multiple of 16 bytes, so packs stay aligned.
GUARD = 256


class EmulatedDevice:
    """Launches kernels of an emulator library, in one order, on tensors between guard zones of NaN.

    A read outside a tensor gives NaN, a write is found after the launch.
    """

    device_type = "cpu"

    def __init__(self, library: Library, order: str) -> None:
        self._library = library
        self._order = order
        self._guarded: list[Tensor] = []

    def unavailable(self) -> str | None:
        return None

    def details(self) -> str:
        return f"emulated, {self._order}"

    def launcher(self, name: str) -> Callable[..., Any]:
        def launch(*arguments: int | float) -> None:
            self._library.set_order(self._order)
            try:
                self._library.call(f"hmeg_cuda_{name}", *arguments)
                for memory in self._guarded:
                    zones = torch.cat([memory[:GUARD], memory[-GUARD:]])
                    untouched = zones.isnan() if zones.is_floating_point() else zones == _filler(zones.dtype)
                    if not untouched.all():
                        raise RuntimeError(f"{name} wrote outside a tensor of {len(memory) - 2 * GUARD} items")
            finally:
                self._guarded.clear()

        return launch

    def guard(self, tensor: Tensor) -> AbstractContextManager[Any]:
        return nullcontext()

    def stream(self, tensor: Tensor) -> int:
        return 0

    def given(self, tensor: Tensor) -> Tensor:
        return self.empty(tuple(tensor.shape), tensor).copy_(tensor)

    def empty(self, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        kind = dtype or like.dtype
        memory = torch.full((prod(shape) + 2 * GUARD,), _filler(kind), dtype=kind)
        self._guarded.append(memory)
        return memory[GUARD : GUARD + prod(shape)].view(shape)


def _filler(dtype: torch.dtype) -> float | int:
    return float("nan") if dtype.is_floating_point else torch.iinfo(dtype).max


def emulated_backend(order: str) -> CudaBackend:
    """The backend ``emulated-<order>`` of all kernels in kernels/cuda."""
    library = Library(build(list((ROOT / "kernels" / "cuda").glob("*.cu")), "kernels"))
    return CudaBackend(f"emulated-{order}", EmulatedDevice(library, order))
