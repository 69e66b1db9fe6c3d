"""attention_readout on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pointers import DTYPE_CODES
from .launcher import Launcher


class AttentionReadout(Launcher):
    def attention_readout(self, x: Tensor, weight: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        x, weight, batch = x.contiguous(), weight.contiguous(), batch.contiguous()
        result = x.new_empty((num_graphs, x.shape[1]))
        self._run("attention_readout_forward", DTYPE_CODES[x.dtype], x.data_ptr(), weight.data_ptr(), batch.data_ptr(),
                  result.data_ptr(), len(x), num_graphs, x.shape[1])  # fmt: skip
        return result

    def attention_readout_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad, x, weight, batch = grad.contiguous(), x.contiguous(), weight.contiguous(), batch.contiguous()
        grad_x, grad_weight = torch.empty_like(x), torch.empty_like(weight)
        means, grad_contexts = torch.empty_like(grad), torch.empty_like(grad)
        self._run("attention_readout_backward", DTYPE_CODES[x.dtype], grad.data_ptr(), x.data_ptr(), weight.data_ptr(),
                  batch.data_ptr(), means.data_ptr(), grad_contexts.data_ptr(), grad_x.data_ptr(),
                  grad_weight.data_ptr(), len(x), len(grad), x.shape[1])  # fmt: skip
        return grad_x, grad_weight
