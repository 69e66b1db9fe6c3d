"""Where the CUDA backend's launchers run: the GPU, or in the tests the emulator."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from ..pointers import entry_point, native_extension


class Device(Protocol):
    """Where launchers run: the GPU, or in the tests the emulator."""

    device_type: str

    def unavailable(self) -> str | None: ...
    def details(self) -> str: ...
    def launcher(self, name: str) -> Callable[..., Any]: ...
    def guard(self, tensor: Tensor) -> AbstractContextManager[Any]: ...
    def stream(self, tensor: Tensor) -> int: ...
    def given(self, tensor: Tensor) -> Tensor:
        """The tensor as a kernel reads it: contiguous."""
        ...

    def empty(self, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor for a kernel to fill, on the device and of the type of another."""
        ...


class NativeDevice:
    """The CUDA kernels in hmeg._C, on torch's current stream."""

    device_type = "cuda"

    def __init__(self) -> None:
        self._extension, self._reason = native_extension()

    def unavailable(self) -> str | None:
        if self._extension is None:
            return self._reason
        if self._extension.build_info()["cuda"] is None:
            return "hmeg._C was built without CUDA kernels (no nvcc, or HMEG_CUDA=off)"
        if not torch.cuda.is_available():
            return "torch sees no CUDA device"
        return None

    def details(self) -> str:
        assert self._extension is not None
        info = self._extension.build_info()
        return f"CUDA {info['cuda']} for {' '.join(info['cuda_archs'])}, {torch.cuda.get_device_name()}"

    def launcher(self, name: str) -> Callable[..., Any]:
        assert self._extension is not None
        return entry_point(self._extension.cuda, name)

    def guard(self, tensor: Tensor) -> AbstractContextManager[Any]:
        if tensor.device.index == torch.cuda.current_device():
            return nullcontext()
        return torch.cuda.device(tensor.device)

    def stream(self, tensor: Tensor) -> int:
        return torch.cuda.current_stream(tensor.device).cuda_stream

    def given(self, tensor: Tensor) -> Tensor:
        return tensor.contiguous()

    def empty(self, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return like.new_empty(shape, dtype=dtype)


class Launcher:
    """What every operator of the CUDA backend launches through."""

    _device: Device

    def _launch(self, name: str, on: Tensor, *arguments: int | float) -> None:
        with self._device.guard(on):
            self._device.launcher(name)(*arguments, self._device.stream(on))
