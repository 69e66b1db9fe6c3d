"""refine_masks by native code."""

from __future__ import annotations

import torch
from torch import Tensor

from .backend import NativeBackend, fresh_like


class RefineMasks(NativeBackend):
    def refine_masks(
        self, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        running_mean: Tensor, running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor,
        height: int, width: int, training: bool, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        symbols, channels = len(boxes), len(conv1_bias)
        masks = boxes.new_empty((symbols, 1, height, width))
        # The kernel writes the batch's statistics where it otherwise reads the running ones.
        mean, var = running_mean.contiguous(), running_var.contiguous()
        if training:
            mean, var = (fresh_like(t) if symbols else t.clone() for t in (mean, var))
        if symbols:
            self.call(
                "refine_masks_forward", boxes=boxes, conv1_weight=conv1_weight, conv1_bias=conv1_bias,
                bn_weight=bn_weight, bn_bias=bn_bias, mean=mean, var=var, conv2_weight=conv2_weight,
                conv2_bias=conv2_bias, masks=masks, symbols=symbols, channels=channels, height=height, width=width,
                training=int(training), eps=eps,
            )  # fmt: skip
        if training:
            return masks, mean, var
        return masks, boxes.new_empty(0), boxes.new_empty(0)

    def refine_masks_backward(
        self, grad_masks: Tensor, masks: Tensor, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor,
        bn_weight: Tensor, bn_bias: Tensor, mean: Tensor, var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor,
        training: bool, eps: float,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        leaves = {
            "boxes": boxes, "conv1_weight": conv1_weight, "conv1_bias": conv1_bias, "bn_weight": bn_weight,
            "bn_bias": bn_bias, "conv2_weight": conv2_weight, "conv2_bias": conv2_bias,
        }  # fmt: skip
        if not len(boxes):
            return tuple(torch.zeros_like(leaf, memory_format=torch.contiguous_format) for leaf in leaves.values())
        grads = {f"grad_{name}": fresh_like(leaf) for name, leaf in leaves.items()}
        height, width = masks.shape[2:]
        self.call(
            "refine_masks_backward", grad_masks=grad_masks, masks=masks, mean=mean, var=var, symbols=len(boxes),
            channels=len(conv1_bias), height=height, width=width, training=int(training), eps=eps, **leaves, **grads,
        )  # fmt: skip
        return tuple(grads.values())
