"""box_soft_mask on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pointers import DTYPE_CODES
from .launcher import Launcher


class BoxSoftMask(Launcher):
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
