"""refine_masks on a GPU, in CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pointers import DTYPE_CODES, accumulator
from .device import Launcher


class RefineMasks(Launcher):
    def refine_masks(
        self, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        running_mean: Tensor, running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor,
        height: int, width: int, training: bool, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        workspace = self._refine_masks_workspace(boxes, len(conv1_bias), height, width, training)[0]
        given = [self._device.given(t) for t in (boxes, conv1_weight, conv1_bias, bn_weight, bn_bias)]
        convolution = [self._device.given(t) for t in (conv2_weight, conv2_bias)]
        statistics = [running_mean, running_var]
        if training:
            statistics = [self._device.empty(tuple(t.shape), t) for t in statistics]
        else:
            statistics = [self._device.given(t) for t in statistics]
        masks = self._device.empty((len(boxes), 1, height, width), boxes)
        scratch = self._device.empty((workspace,), boxes, accumulator(boxes.dtype))
        tensors = (*given, *statistics, *convolution, masks, scratch)
        self._launch("refine_masks_forward", boxes, DTYPE_CODES[boxes.dtype], *(t.data_ptr() for t in tensors),
                     len(boxes), len(conv1_bias), height, width, int(training), eps)  # fmt: skip
        if training:
            return masks, statistics[0], statistics[1]
        return masks, boxes.new_empty(0), boxes.new_empty(0)

    def refine_masks_backward(
        self, grad_masks: Tensor, masks: Tensor, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor,
        bn_weight: Tensor, bn_bias: Tensor, mean: Tensor, var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor,
        training: bool, eps: float,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        height, width = masks.shape[2:]
        workspace = self._refine_masks_workspace(boxes, len(conv1_bias), height, width, training)[1]
        inputs = (grad_masks, masks, boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, mean, var, conv2_weight,
                  conv2_bias)  # fmt: skip
        given = [self._device.given(t) for t in inputs]
        differentiated = (boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, conv2_weight, conv2_bias)
        grads = tuple(self._device.empty(tuple(t.shape), t) for t in differentiated)
        scratch = self._device.empty((workspace,), boxes, accumulator(boxes.dtype))
        self._launch("refine_masks_backward", boxes, DTYPE_CODES[boxes.dtype],
                     *(t.data_ptr() for t in (*given, *grads, scratch)), len(boxes), len(conv1_bias), height, width,
                     int(training), eps)  # fmt: skip
        return grads

    def _refine_masks_workspace(
        self, boxes: Tensor, channels: int, height: int, width: int, training: bool
    ) -> tuple[int, int]:
        """Scalars of workspace, forward and backward."""
        sizes = torch.zeros(2, dtype=torch.int64)
        self._device.launcher("refine_masks_workspace")(
            DTYPE_CODES[boxes.dtype], len(boxes), channels, height, width, int(training), sizes.data_ptr()
        )
        forward, backward = sizes.tolist()
        return forward, backward
