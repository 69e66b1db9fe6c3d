"""crop_boxes on a GPU, in CUDA."""

from __future__ import annotations

from torch import Tensor

from ..pointers import DTYPE_CODES
from .device import Launcher


class CropBoxes(Launcher):
    def crop_boxes(self, images: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int) -> Tensor:
        images, boxes, batch = (self._device.given(t) for t in (images, boxes, batch))
        crops = self._device.empty((len(boxes), images.shape[1], height, width), boxes)
        self._launch("crop_boxes_forward", boxes, DTYPE_CODES[boxes.dtype], images.data_ptr(), boxes.data_ptr(),
                     batch.data_ptr(), crops.data_ptr(), len(boxes), *images.shape, height, width)  # fmt: skip
        return crops

    def crop_boxes_backward(
        self, grad_crops: Tensor, images: Tensor, boxes: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_crops, images, boxes, batch = (self._device.given(t) for t in (grad_crops, images, boxes, batch))
        grad_images = self._device.empty(tuple(images.shape), images)
        grad_boxes = self._device.empty(tuple(boxes.shape), boxes)
        order = self._device.empty((len(boxes) + len(images) + 1,), batch)
        self._launch("crop_boxes_backward", boxes, DTYPE_CODES[boxes.dtype], grad_crops.data_ptr(), images.data_ptr(),
                     boxes.data_ptr(), batch.data_ptr(), grad_images.data_ptr(), grad_boxes.data_ptr(),
                     order.data_ptr(), len(boxes), *images.shape, *grad_crops.shape[2:])  # fmt: skip
        return grad_images, grad_boxes
