"""refine_layout on the CPU."""

from __future__ import annotations

from torch import Tensor

from ..pointers import DTYPE_CODES
from .launcher import Launcher


class RefineLayout(Launcher):
    def refine_layout(
        self, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        running_mean: Tensor, running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor, features: Tensor,
        batch: Tensor, height: int, width: int, num_graphs: int, eps: float,
    ) -> Tensor:  # fmt: skip
        given = [t.contiguous() for t in (boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, running_mean,
                                          running_var, conv2_weight, conv2_bias, features, batch)]  # fmt: skip
        (symbols, channels), hidden, code = features.shape, len(conv1_bias), DTYPE_CODES[boxes.dtype]
        layout = features.new_empty((num_graphs, channels, height, width))
        workspace = self._workspace("refine_layout", code, hidden, width)
        addresses = [t.data_ptr() for t in (*given, layout, workspace)]
        self._run("refine_layout", code, *addresses, symbols, num_graphs, hidden, channels, height, width, eps)
        return layout
