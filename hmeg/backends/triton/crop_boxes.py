"""crop_boxes in Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from .launcher import Launcher


class CropBoxes(Launcher):
    def crop_boxes(self, images: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int) -> Tensor:
        images, boxes, batch = images.contiguous(), boxes.contiguous(), batch.contiguous()
        crops = images.new_empty((len(boxes), images.shape[1], height, width))
        self._kernels("crop_boxes").crop_boxes_forward(images, boxes, batch, crops)
        return crops

    def crop_boxes_backward(
        self, grad_crops: Tensor, images: Tensor, boxes: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_crops, images = grad_crops.contiguous(), images.contiguous()
        boxes, batch = boxes.contiguous(), batch.contiguous()
        grad_images, grad_boxes = torch.empty_like(images), torch.empty_like(boxes)
        self._kernels("crop_boxes").crop_boxes_backward(grad_crops, images, boxes, batch, grad_images, grad_boxes)
        return grad_images, grad_boxes
