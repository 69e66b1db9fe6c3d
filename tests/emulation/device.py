"""The emulator as a device of hmeg.backends.cuda: the adapter and the .cu source of a GPU, on CPU tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hmeg.backends.cuda import CudaBackend

from .library import ROOT, Library, build

# Items before and after every tensor a kernel is given; a multiple of 16 bytes, so packs stay aligned.
GUARD = 256


class EmulatedDevice:
    """Runs entry points of an emulator library, in one order, on copies of tensors between guard zones of NaN.

    A read outside a tensor gives NaN, a write is found after the launch. What was written is copied back.
    """

    type = "cpu"
    gpu = True

    def __init__(self, library: Library, order: str) -> None:
        self._library = library
        self._order = order

    def unavailable(self) -> str | None:
        return None

    def details(self) -> str:
        return f"emulated, {self._order}"

    def call(self, entry: str, /, **values: Any) -> None:
        self._library.set_order(self._order)
        point = self._library.entries[entry]
        workspaces: list[Guarded] = []

        def allocate(size: int, _device: torch.device) -> Tensor:
            workspaces.append(Guarded(torch.full((size,), _filler(torch.uint8), dtype=torch.uint8)))
            return workspaces[-1].copy

        point.allocate = allocate  # type: ignore[method-assign]
        guarded = {name: Guarded(value) for name, value in values.items() if isinstance(value, Tensor)}
        point({name: guarded[name].copy if name in guarded else value for name, value in values.items()})
        for name, tensor in guarded.items():
            if not tensor.untouched():
                raise RuntimeError(f"{entry} wrote outside {name}, a tensor of {tensor.copy.numel()} items")
        if not all(memory.untouched() for memory in workspaces):
            raise RuntimeError(f"{entry} wrote outside its workspace of {workspaces[0].copy.numel()} bytes")
        for field in point.fields:
            if field.written and field.name in guarded:
                values[field.name].copy_(guarded[field.name].copy)


class Guarded:
    """A contiguous copy of a tensor between guard zones."""

    def __init__(self, tensor: Tensor) -> None:
        size = tensor.numel()
        self._memory = torch.full((size + 2 * GUARD,), _filler(tensor.dtype), dtype=tensor.dtype)
        self.copy = self._memory[GUARD : GUARD + size].view(tensor.shape)
        self.copy.copy_(tensor)

    def untouched(self) -> bool:
        zones = torch.cat([self._memory[:GUARD], self._memory[-GUARD:]])
        return bool((zones.isnan() if zones.is_floating_point() else zones == _filler(zones.dtype)).all())


def _filler(dtype: torch.dtype) -> float | int:
    return float("nan") if dtype.is_floating_point else torch.iinfo(dtype).max


def emulated_backend(order: str) -> CudaBackend:
    """The backend ``emulated-<order>`` of all kernels in kernels/cuda."""
    library = Library(build(list((ROOT / "kernels" / "cuda").glob("*.cu")), "kernels"))
    return CudaBackend(f"emulated-{order}", EmulatedDevice(library, order))
