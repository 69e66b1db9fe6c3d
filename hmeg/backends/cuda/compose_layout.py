"""compose_layout on a GPU, in CUDA."""

from __future__ import annotations

from torch import Tensor

from ..pointers import DTYPE_CODES
from .device import Launcher


class ComposeLayout(Launcher):
    def compose_layout(self, masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        masks, features, batch = (self._device.given(t) for t in (masks, features, batch))
        (symbols, channels), (height, width) = features.shape, masks.shape[2:]
        layout = self._device.empty((num_graphs, channels, height, width), features)
        self._launch("compose_layout_forward", masks, DTYPE_CODES[masks.dtype], masks.data_ptr(), features.data_ptr(),
                     batch.data_ptr(), layout.data_ptr(), symbols, num_graphs, channels, height * width)  # fmt: skip
        return layout

    def compose_layout_backward(
        self, grad_layout: Tensor, masks: Tensor, features: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_layout, masks, features, batch = (self._device.given(t) for t in (grad_layout, masks, features, batch))
        (symbols, channels), (height, width) = features.shape, masks.shape[2:]
        grad_masks = self._device.empty(tuple(masks.shape), masks)
        grad_features = self._device.empty(tuple(features.shape), features)
        self._launch("compose_layout_backward", masks, DTYPE_CODES[masks.dtype], grad_layout.data_ptr(),
                     masks.data_ptr(), features.data_ptr(), batch.data_ptr(), grad_masks.data_ptr(),
                     grad_features.data_ptr(), symbols, len(grad_layout), channels, height * width)  # fmt: skip
        return grad_masks, grad_features
