"""compose_layout on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pointers import DTYPE_CODES
from .launcher import Launcher


class ComposeLayout(Launcher):
    def compose_layout(self, masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        masks, features, batch = masks.contiguous(), features.contiguous(), batch.contiguous()
        (symbols, channels), (height, width) = features.shape, masks.shape[2:]
        layout = features.new_empty((num_graphs, channels, height, width))
        self._run("compose_layout_forward", DTYPE_CODES[masks.dtype], masks.data_ptr(), features.data_ptr(),
                  batch.data_ptr(), layout.data_ptr(), symbols, num_graphs, channels, height * width)  # fmt: skip
        return layout

    def compose_layout_backward(
        self, grad_layout: Tensor, masks: Tensor, features: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_layout, masks = grad_layout.contiguous(), masks.contiguous()
        features, batch = features.contiguous(), batch.contiguous()
        (symbols, channels), (height, width) = features.shape, masks.shape[2:]
        grad_masks, grad_features = torch.empty_like(masks), torch.empty_like(features)
        self._run("compose_layout_backward", DTYPE_CODES[masks.dtype], grad_layout.data_ptr(), masks.data_ptr(),
                  features.data_ptr(), batch.data_ptr(), grad_masks.data_ptr(), grad_features.data_ptr(), symbols,
                  len(grad_layout), channels, height * width)  # fmt: skip
        return grad_masks, grad_features
