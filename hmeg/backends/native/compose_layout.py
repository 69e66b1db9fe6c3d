"""compose_layout by native code."""

from __future__ import annotations

from torch import Tensor

from .backend import NativeBackend, fresh_like


class ComposeLayout(NativeBackend):
    def compose_layout(self, masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        (symbols, channels), (height, width) = features.shape, masks.shape[2:]
        layout = features.new_empty((num_graphs, channels, height, width))
        self.call(
            "compose_layout_forward", masks=masks, features=features, batch=batch, layout=layout, symbols=symbols,
            graphs=num_graphs, channels=channels, pixels=height * width,
        )  # fmt: skip
        return layout

    def compose_layout_backward(
        self, grad_layout: Tensor, masks: Tensor, features: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        (symbols, channels), (height, width) = features.shape, masks.shape[2:]
        grad_masks, grad_features = fresh_like(masks), fresh_like(features)
        self.call(
            "compose_layout_backward", grad_layout=grad_layout, masks=masks, features=features, batch=batch,
            grad_masks=grad_masks, grad_features=grad_features, symbols=symbols, graphs=len(grad_layout),
            channels=channels, pixels=height * width,
        )  # fmt: skip
        return grad_masks, grad_features
