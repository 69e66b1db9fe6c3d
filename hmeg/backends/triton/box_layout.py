"""box_layout in Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from .launcher import Launcher


class BoxLayout(Launcher):
    def box_layout(
        self, features: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int, num_graphs: int
    ) -> Tensor:
        features, boxes, batch = features.contiguous(), boxes.contiguous(), batch.contiguous()
        layout = features.new_empty((num_graphs, features.shape[1], height, width))
        self._kernels("box_layout").box_layout_forward(features, boxes, batch, layout)
        return layout

    def box_layout_backward(
        self, grad_layout: Tensor, features: Tensor, boxes: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_layout, features = grad_layout.contiguous(), features.contiguous()
        boxes, batch = boxes.contiguous(), batch.contiguous()
        grad_features, grad_boxes = torch.empty_like(features), torch.empty_like(boxes)
        self._kernels("box_layout").box_layout_backward(grad_layout, features, boxes, batch, grad_features, grad_boxes)
        return grad_features, grad_boxes
