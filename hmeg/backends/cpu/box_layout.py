"""box_layout on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pointers import DTYPE_CODES
from .launcher import Launcher


class BoxLayout(Launcher):
    def box_layout(
        self, features: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int, num_graphs: int
    ) -> Tensor:
        features, boxes, batch = features.contiguous(), boxes.contiguous(), batch.contiguous()
        symbols, channels = features.shape
        layout = features.new_empty((num_graphs, channels, height, width))
        workspace = boxes.new_empty(self._entries.box_layout_forward_workspace(symbols, height, width))
        self._run("box_layout_forward", DTYPE_CODES[boxes.dtype], features.data_ptr(), boxes.data_ptr(),
                  batch.data_ptr(), layout.data_ptr(), workspace.data_ptr(), symbols, num_graphs, channels,
                  height, width)  # fmt: skip
        return layout

    def box_layout_backward(
        self, grad_layout: Tensor, features: Tensor, boxes: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_layout, features = grad_layout.contiguous(), features.contiguous()
        boxes, batch = boxes.contiguous(), batch.contiguous()
        num_graphs, channels, height, width = grad_layout.shape
        grad_features, grad_boxes = torch.empty_like(features), torch.empty_like(boxes)
        scratch = self._entries.box_layout_backward_scratch(height, width)
        workspace = boxes.new_empty(torch.get_num_threads() * scratch)
        self._run("box_layout_backward", DTYPE_CODES[boxes.dtype], grad_layout.data_ptr(), features.data_ptr(),
                  boxes.data_ptr(), batch.data_ptr(), grad_features.data_ptr(), grad_boxes.data_ptr(),
                  workspace.data_ptr(), len(boxes), num_graphs, channels, height, width)  # fmt: skip
        return grad_features, grad_boxes
