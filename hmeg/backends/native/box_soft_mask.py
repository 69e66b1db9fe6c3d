"""box_soft_mask by native code."""

from __future__ import annotations

from torch import Tensor

from .backend import NativeBackend, fresh_like


class BoxSoftMask(NativeBackend):
    def box_soft_mask(self, boxes: Tensor, height: int, width: int) -> Tensor:
        masks = boxes.new_empty((len(boxes), 1, height, width))
        self.call("box_soft_mask_forward", boxes=boxes, masks=masks, symbols=len(boxes), height=height, width=width)
        return masks

    def box_soft_mask_backward(self, grad_masks: Tensor, boxes: Tensor) -> Tensor:
        grad_boxes = fresh_like(boxes)
        height, width = grad_masks.shape[2:]
        self.call(
            "box_soft_mask_backward", grad_masks=grad_masks, boxes=boxes, grad_boxes=grad_boxes, symbols=len(boxes),
            height=height, width=width,
        )  # fmt: skip
        return grad_boxes
