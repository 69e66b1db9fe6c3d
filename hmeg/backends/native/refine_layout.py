"""refine_layout by native code."""

from __future__ import annotations

from torch import Tensor

from .backend import NativeBackend


class RefineLayout(NativeBackend):
    def refine_layout(
        self, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        running_mean: Tensor, running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor, features: Tensor,
        batch: Tensor, height: int, width: int, num_graphs: int, eps: float,
    ) -> Tensor:  # fmt: skip
        symbols, channels = features.shape
        layout = features.new_empty((num_graphs, channels, height, width))
        self.call(
            "refine_layout", boxes=boxes, conv1_weight=conv1_weight, conv1_bias=conv1_bias, bn_weight=bn_weight,
            bn_bias=bn_bias, mean=running_mean, var=running_var, conv2_weight=conv2_weight, conv2_bias=conv2_bias,
            features=features, batch=batch, layout=layout, symbols=symbols, graphs=num_graphs, hidden=len(conv1_bias),
            channels=channels, height=height, width=width, eps=eps,
        )  # fmt: skip
        return layout
