"""refine_layout on a GPU, in CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pointers import DTYPE_CODES, accumulator
from .device import Launcher


class RefineLayout(Launcher):
    def refine_layout(
        self, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        running_mean: Tensor, running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor, features: Tensor,
        batch: Tensor, height: int, width: int, num_graphs: int, eps: float,
    ) -> Tensor:  # fmt: skip
        (symbols, channels), hidden = features.shape, len(conv1_bias)
        size = torch.zeros(1, dtype=torch.int64)
        self._device.launcher("refine_layout_workspace")(hidden, size.data_ptr())
        inputs = (boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, running_mean, running_var, conv2_weight,
                  conv2_bias, features, batch)  # fmt: skip
        given = [self._device.given(t) for t in inputs]
        layout = self._device.empty((num_graphs, channels, height, width), features)
        workspace = self._device.empty((int(size),), features, accumulator(features.dtype))
        tensors = (*given, layout, workspace)
        self._launch("refine_layout", boxes, DTYPE_CODES[boxes.dtype], *(t.data_ptr() for t in tensors), symbols,
                     num_graphs, hidden, channels, height, width, eps)  # fmt: skip
        return layout
