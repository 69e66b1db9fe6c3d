"""refine_layout in Triton."""

from __future__ import annotations

from torch import Tensor

from .launcher import Launcher


class RefineLayout(Launcher):
    def refine_layout(
        self, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        running_mean: Tensor, running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor, features: Tensor,
        batch: Tensor, height: int, width: int, num_graphs: int, eps: float,
    ) -> Tensor:  # fmt: skip
        weights = (conv1_weight, conv1_bias, bn_weight, bn_bias, running_mean, running_var, conv2_weight, conv2_bias)
        layout = features.new_empty((num_graphs, features.shape[1], height, width))
        self._kernels("refine_layout").refine_layout(
            boxes.contiguous(), tuple(t.contiguous() for t in weights), features.contiguous(), batch.contiguous(),
            layout, eps,
        )  # fmt: skip
        return layout
