"""Adapter to the CUDA kernels in kernels/cuda: allocates outputs and passes addresses, sizes and the stream."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from .base import Backend
from .pointers import DTYPE_CODES, accumulator, native_extension

# csrc/box_soft_mask.h: kBoxSoftMaskTileRows
BOX_SOFT_MASK_TILE_ROWS = 64


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
        launcher: Callable[..., Any] = getattr(self._extension.cuda, name)
        return launcher

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


class CudaBackend(Backend):
    """Runs kernels/cuda; float32, float64, float16 and bfloat16, sums in float32 (float64 for float64)."""

    dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

    def __init__(self, name: str, device: Device) -> None:
        self.name = name
        self._device = device
        self.device_types = (device.device_type,)

    @classmethod
    def native(cls) -> CudaBackend:
        """The backend ``cuda``."""
        return cls("cuda", NativeDevice())

    def unavailable(self) -> str | None:
        return self._device.unavailable()

    def details(self) -> str:
        return self._device.details()

    def _launch(self, name: str, on: Tensor, *arguments: int) -> None:
        with self._device.guard(on):
            self._device.launcher(name)(*arguments, self._device.stream(on))

    def box_soft_mask(self, boxes: Tensor, height: int, width: int) -> Tensor:
        boxes = self._device.given(boxes)
        masks = self._device.empty((len(boxes), 1, height, width), boxes)
        self._launch("box_soft_mask_forward", boxes, DTYPE_CODES[boxes.dtype], boxes.data_ptr(), masks.data_ptr(),
                     len(boxes), height, width)  # fmt: skip
        return masks

    def box_soft_mask_backward(self, grad_masks: Tensor, boxes: Tensor) -> Tensor:
        grad_masks, boxes = self._device.given(grad_masks), self._device.given(boxes)
        grad_boxes = self._device.empty(tuple(boxes.shape), boxes)
        height, width = grad_masks.shape[2:]
        tiles = -(-height // BOX_SOFT_MASK_TILE_ROWS)
        sums = len(boxes) * tiles * 4 if tiles > 1 else 0
        partial = self._device.empty((sums,), boxes, accumulator(boxes.dtype))
        self._launch("box_soft_mask_backward", boxes, DTYPE_CODES[boxes.dtype], grad_masks.data_ptr(), boxes.data_ptr(),
                     grad_boxes.data_ptr(), partial.data_ptr(), len(boxes), height, width)  # fmt: skip
        return grad_boxes
