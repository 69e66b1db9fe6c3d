"""crop_boxes on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pointers import DTYPE_CODES
from .launcher import Launcher

MAX_COLUMN_OFFSET = 2**31 - 1  # columns of an image row are addressed in 32 bits


def readable(images: Tensor) -> Tensor:
    """The images as they lie in memory, whatever their strides, or a copy where a row spreads too wide."""
    return images if (images.shape[3] - 1) * images.stride(3) <= MAX_COLUMN_OFFSET else images.contiguous()


class CropBoxes(Launcher):
    def crop_boxes(self, images: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int) -> Tensor:
        images, boxes, batch = readable(images), boxes.contiguous(), batch.contiguous()
        crops = boxes.new_empty((len(boxes), images.shape[1], height, width))
        workspace = self._crop_workspace(boxes, height, width)
        self._run("crop_boxes_forward", DTYPE_CODES[boxes.dtype], images.data_ptr(), boxes.data_ptr(),
                  batch.data_ptr(), crops.data_ptr(), workspace.data_ptr(), len(boxes), *images.shape,
                  *images.stride(), height, width)  # fmt: skip
        return crops

    def crop_boxes_backward(
        self, grad_crops: Tensor, images: Tensor, boxes: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        images, boxes, batch = readable(images), boxes.contiguous(), batch.contiguous()
        grad_crops = grad_crops.contiguous()
        height, width = grad_crops.shape[2:]
        grad_images, grad_boxes = images.new_empty(images.shape), torch.empty_like(boxes)
        workspace = self._crop_workspace(boxes, height, width)
        order = batch.new_empty(len(images) + 1 + len(boxes))
        self._run("crop_boxes_backward", DTYPE_CODES[boxes.dtype], grad_crops.data_ptr(), images.data_ptr(),
                  boxes.data_ptr(), batch.data_ptr(), grad_images.data_ptr(), grad_boxes.data_ptr(),
                  workspace.data_ptr(), order.data_ptr(), len(boxes), *images.shape, *images.stride(),
                  height, width)  # fmt: skip
        return grad_images, grad_boxes

    def _crop_workspace(self, like: Tensor, height: int, width: int) -> Tensor:
        return like.new_empty(torch.get_num_threads() * self._entries.crop_boxes_scratch(height, width))
