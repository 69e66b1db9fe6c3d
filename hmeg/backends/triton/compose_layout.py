"""compose_layout in Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from .launcher import Launcher


class ComposeLayout(Launcher):
    def compose_layout(self, masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        masks, features, batch = masks.contiguous(), features.contiguous(), batch.contiguous()
        layout = features.new_empty((num_graphs, features.shape[1], *masks.shape[2:]))
        self._kernels("compose_layout").compose_layout_forward(masks, features, batch, layout)
        return layout

    def compose_layout_backward(
        self, grad_layout: Tensor, masks: Tensor, features: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_layout, masks = grad_layout.contiguous(), masks.contiguous()
        features, batch = features.contiguous(), batch.contiguous()
        grad_masks, grad_features = torch.empty_like(masks), torch.empty_like(features)
        self._kernels("compose_layout").compose_layout_backward(
            grad_layout, masks, features, batch, grad_masks, grad_features
        )
        return grad_masks, grad_features
