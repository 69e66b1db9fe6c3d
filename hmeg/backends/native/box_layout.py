"""box_layout by native code."""

from __future__ import annotations

from torch import Tensor

from .backend import NativeBackend, fresh_like


class BoxLayout(NativeBackend):
    def box_layout(
        self, features: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int, num_graphs: int
    ) -> Tensor:
        symbols, channels = features.shape
        layout = features.new_empty((num_graphs, channels, height, width))
        self.call(
            "box_layout_forward", features=features, boxes=boxes, batch=batch, layout=layout, symbols=symbols,
            graphs=num_graphs, channels=channels, height=height, width=width,
        )  # fmt: skip
        return layout

    def box_layout_backward(
        self, grad_layout: Tensor, features: Tensor, boxes: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        graphs, channels, height, width = grad_layout.shape
        grad_features, grad_boxes = fresh_like(features), fresh_like(boxes)
        self.call(
            "box_layout_backward", grad_layout=grad_layout, features=features, boxes=boxes, batch=batch,
            grad_features=grad_features, grad_boxes=grad_boxes, symbols=len(boxes), graphs=graphs, channels=channels,
            height=height, width=width,
        )  # fmt: skip
        return grad_features, grad_boxes
