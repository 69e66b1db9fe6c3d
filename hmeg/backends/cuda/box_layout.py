"""box_layout on a GPU, in CUDA."""

from __future__ import annotations

from torch import Tensor

from ..pointers import DTYPE_CODES, accumulator
from .device import Launcher

# csrc/box_layout.h: kBoxLayoutBlockChannels
CHANNELS = 32


class BoxLayout(Launcher):
    def box_layout(
        self, features: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int, num_graphs: int
    ) -> Tensor:
        features, boxes, batch = (self._device.given(t) for t in (features, boxes, batch))
        symbols, channels = features.shape
        layout = self._device.empty((num_graphs, channels, height, width), features)
        self._launch("box_layout_forward", features, DTYPE_CODES[features.dtype], features.data_ptr(),
                     boxes.data_ptr(), batch.data_ptr(), layout.data_ptr(), symbols, num_graphs, channels, height,
                     width)  # fmt: skip
        return layout

    def box_layout_backward(
        self, grad_layout: Tensor, features: Tensor, boxes: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_layout, features, boxes, batch = (self._device.given(t) for t in (grad_layout, features, boxes, batch))
        (num_graphs, channels, height, width), symbols = grad_layout.shape, len(features)
        grad_features = self._device.empty(tuple(features.shape), features)
        grad_boxes = self._device.empty(tuple(boxes.shape), boxes)
        partial = self._device.empty((4 * symbols * -(-channels // CHANNELS),), boxes, accumulator(boxes.dtype))
        self._launch("box_layout_backward", features, DTYPE_CODES[features.dtype], grad_layout.data_ptr(),
                     features.data_ptr(), boxes.data_ptr(), batch.data_ptr(), grad_features.data_ptr(),
                     grad_boxes.data_ptr(), partial.data_ptr(), symbols, num_graphs, channels, height,
                     width)  # fmt: skip
        return grad_features, grad_boxes
