"""box_soft_mask on a GPU, in CUDA."""

from __future__ import annotations

from torch import Tensor

from ..pointers import DTYPE_CODES, accumulator
from .device import Launcher

# csrc/box_soft_mask.h: kBoxSoftMaskTileRows
TILE_ROWS = 64


class BoxSoftMask(Launcher):
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
        tiles = -(-height // TILE_ROWS)
        sums = len(boxes) * tiles * 4 if tiles > 1 else 0
        partial = self._device.empty((sums,), boxes, accumulator(boxes.dtype))
        self._launch("box_soft_mask_backward", boxes, DTYPE_CODES[boxes.dtype], grad_masks.data_ptr(), boxes.data_ptr(),
                     grad_boxes.data_ptr(), partial.data_ptr(), len(boxes), height, width)  # fmt: skip
        return grad_boxes
