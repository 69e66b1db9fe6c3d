"""refine_masks on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pointers import DTYPE_CODES
from .launcher import Launcher


class RefineMasks(Launcher):
    def refine_masks(
        self, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        running_mean: Tensor, running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor,
        height: int, width: int, training: bool, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        boxes = boxes.contiguous()
        symbols, channels, code = len(boxes), len(conv1_bias), DTYPE_CODES[boxes.dtype]
        masks = boxes.new_empty((symbols, 1, height, width))
        # The kernel writes the batch's statistics where it otherwise reads the running ones.
        mean, var = running_mean.contiguous(), running_var.contiguous()
        if training:
            mean, var = mean.clone(), var.clone()
        if symbols:
            weights = [t.contiguous() for t in (conv1_weight, conv1_bias, bn_weight, bn_bias)]
            conv2 = [t.contiguous() for t in (conv2_weight, conv2_bias)]
            workspace = self._workspace("refine_masks_forward", code, symbols, channels, width, training)
            addresses = [t.data_ptr() for t in (boxes, *weights, mean, var, *conv2, masks, workspace)]
            self._run("refine_masks_forward", code, *addresses, symbols, channels, height, width, training, eps)
        if training:
            return masks, mean, var
        return masks, boxes.new_empty(0), boxes.new_empty(0)

    def refine_masks_backward(
        self, grad_masks: Tensor, masks: Tensor, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor,
        bn_weight: Tensor, bn_bias: Tensor, mean: Tensor, var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor,
        training: bool, eps: float,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        leaves = [t.contiguous() for t in
                  (boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, conv2_weight, conv2_bias)]  # fmt: skip
        if not len(boxes):
            return tuple(torch.zeros_like(leaf) for leaf in leaves)
        grads = tuple(torch.empty_like(leaf) for leaf in leaves)
        symbols, channels, code = len(boxes), len(conv1_bias), DTYPE_CODES[boxes.dtype]
        height, width = masks.shape[2:]
        given = [grad_masks.contiguous(), masks.contiguous(), *leaves[:5], mean.contiguous(), var.contiguous(),
                 *leaves[5:]]  # fmt: skip
        workspace = self._workspace("refine_masks_backward", code, symbols, channels, height, width, training)
        addresses = [t.data_ptr() for t in (*given, *grads, workspace)]
        self._run("refine_masks_backward", code, *addresses, symbols, channels, height, width, training, eps)
        return grads
