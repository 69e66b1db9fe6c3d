"""box_soft_mask in Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from .launcher import Launcher


class BoxSoftMask(Launcher):
    def box_soft_mask(self, boxes: Tensor, height: int, width: int) -> Tensor:
        boxes = boxes.contiguous()
        masks = boxes.new_empty((len(boxes), 1, height, width))
        self._kernels("box_soft_mask").box_soft_mask_forward(boxes, masks)
        return masks

    def box_soft_mask_backward(self, grad_masks: Tensor, boxes: Tensor) -> Tensor:
        grad_masks, boxes = grad_masks.contiguous(), boxes.contiguous()
        grad_boxes = torch.empty_like(boxes)
        self._kernels("box_soft_mask").box_soft_mask_backward(grad_masks, boxes, grad_boxes)
        return grad_boxes
