"""Adapter to the C++ kernels in csrc/cpu: float32 and float64, as many threads as torch.get_num_threads()."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Backend
from .pointers import DTYPE_CODES, native_extension

BEST_VARIANT = -1


class CpuBackend(Backend):
    """Runs on CPU tensors. ``variant`` pins one of build_info()["cpu_variants"] by position, for tests."""

    name = "cpu"
    device_types = ("cpu",)
    dtypes = (torch.float32, torch.float64)

    def __init__(self, variant: int = BEST_VARIANT) -> None:
        self._extension, self._reason = native_extension()
        self._variant = variant

    def unavailable(self) -> str | None:
        return self._reason or None

    def details(self) -> str:
        assert self._extension is not None
        return f"C++, {self._extension.build_info()['cpu_variant']}"

    def _run(self, entry: str, *arguments: int) -> None:
        getattr(self._extension.cpu, entry)(*arguments, torch.get_num_threads(), self._variant)  # type: ignore[union-attr]

    def box_soft_mask(self, boxes: Tensor, height: int, width: int) -> Tensor:
        boxes = boxes.contiguous()
        masks = boxes.new_empty((len(boxes), 1, height, width))
        code = DTYPE_CODES[boxes.dtype]
        self._run("box_soft_mask_forward", code, boxes.data_ptr(), masks.data_ptr(), len(boxes), height, width)
        return masks

    def box_soft_mask_backward(self, grad_masks: Tensor, boxes: Tensor) -> Tensor:
        grad_masks, boxes = grad_masks.contiguous(), boxes.contiguous()
        grad_boxes = torch.empty_like(boxes)
        height, width = grad_masks.shape[2:]
        self._run("box_soft_mask_backward", DTYPE_CODES[boxes.dtype], grad_masks.data_ptr(), boxes.data_ptr(),
                  grad_boxes.data_ptr(), len(boxes), height, width)  # fmt: skip
        return grad_boxes

    def compose_layout(self, masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        masks, features, batch = masks.contiguous(), features.contiguous(), batch.contiguous()
        (symbols, channels), (height, width) = features.shape, masks.shape[2:]
        layout = features.new_empty((num_graphs, channels, height, width))
        self._run("compose_layout_forward", DTYPE_CODES[masks.dtype], masks.data_ptr(), features.data_ptr(),
                  batch.data_ptr(), layout.data_ptr(), symbols, num_graphs, channels, height * width)  # fmt: skip
        return layout

    def compose_layout_backward(
        self, grad_layout: Tensor, masks: Tensor, features: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_layout, masks = grad_layout.contiguous(), masks.contiguous()
        features, batch = features.contiguous(), batch.contiguous()
        (symbols, channels), (height, width) = features.shape, masks.shape[2:]
        grad_masks, grad_features = torch.empty_like(masks), torch.empty_like(features)
        self._run("compose_layout_backward", DTYPE_CODES[masks.dtype], grad_layout.data_ptr(), masks.data_ptr(),
                  features.data_ptr(), batch.data_ptr(), grad_masks.data_ptr(), grad_features.data_ptr(), symbols,
                  len(grad_layout), channels, height * width)  # fmt: skip
        return grad_masks, grad_features
