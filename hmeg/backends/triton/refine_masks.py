"""refine_masks in Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from .launcher import Launcher


class RefineMasks(Launcher):
    def refine_masks(
        self, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        running_mean: Tensor, running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor,
        height: int, width: int, training: bool, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        boxes, conv1_weight, conv1_bias = boxes.contiguous(), conv1_weight.contiguous(), conv1_bias.contiguous()
        masks = boxes.new_empty((len(boxes), 1, height, width))
        mean, var = running_mean.contiguous(), running_var.contiguous()
        if training and len(boxes):
            mean, var = self._kernels("refine_masks").refine_statistics(
                boxes, conv1_weight, conv1_bias, (height, width)
            )
        self._kernels("refine_masks").refine_masks_forward(
            boxes, conv1_weight, conv1_bias, bn_weight.contiguous(), bn_bias.contiguous(), mean, var,
            conv2_weight.contiguous(), conv2_bias.contiguous(), masks, eps,
        )  # fmt: skip
        if not training:
            return masks, boxes.new_empty(0), boxes.new_empty(0)
        return masks, mean.to(boxes.dtype, copy=True), var.to(boxes.dtype, copy=True)

    def refine_masks_backward(
        self, grad_masks: Tensor, masks: Tensor, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor,
        bn_weight: Tensor, bn_bias: Tensor, mean: Tensor, var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor,
        training: bool, eps: float,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        inputs = (boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, conv2_weight, conv2_bias)
        given = tuple(t.contiguous() for t in inputs)
        grads = tuple(torch.empty_like(t) for t in given)
        self._kernels("refine_gradients").refine_masks_backward(
            grad_masks.contiguous(), masks.contiguous(), given, (mean.contiguous(), var.contiguous()), grads,
            training, eps,
        )  # fmt: skip
        return grads
