"""attention_readout in Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import accumulator
from .launcher import Launcher


class AttentionReadout(Launcher):
    def attention_readout(self, x: Tensor, weight: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        x = x.contiguous()
        out = x.new_empty((num_graphs, x.shape[1]))
        self._kernels("attention_readout").attention_readout_forward(x, weight.contiguous(), batch.contiguous(), out)
        return out

    def attention_readout_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad, x, weight = grad.contiguous(), x.contiguous(), weight.contiguous()
        grad_x = torch.empty_like(x)
        means, grad_products = (grad.new_empty(grad.shape, dtype=accumulator(x.dtype)) for _ in range(2))
        self._kernels("attention_readout").attention_readout_backward(
            grad, x, weight, batch.contiguous(), grad_x, means, grad_products
        )
        return grad_x, (means.T @ grad_products).to(weight.dtype)
