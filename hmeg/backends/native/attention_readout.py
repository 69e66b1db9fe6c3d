"""attention_readout by native code."""

from __future__ import annotations

from torch import Tensor

from ..base import accumulator
from .backend import NativeBackend, fresh_like


class AttentionReadout(NativeBackend):
    def attention_readout(self, x: Tensor, weight: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        symbols, channels = x.shape
        out = x.new_empty((num_graphs, channels))
        self.call(
            "attention_readout_forward", x=x, weight=weight, batch=batch, out=out, symbols=symbols, graphs=num_graphs,
            channels=channels,
        )  # fmt: skip
        return out

    def attention_readout_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        (symbols, channels), graphs = x.shape, len(grad)
        grad_x = fresh_like(x)
        means, grad_products = (grad.new_empty((graphs, channels), dtype=accumulator(x.dtype)) for _ in range(2))
        # On a GPU the last product is cuBLAS's.
        grad_weight = None if self.device.gpu else fresh_like(weight)
        self.call(
            "attention_readout_backward", grad=grad, x=x, weight=weight, batch=batch, grad_x=grad_x,
            grad_weight=grad_weight, means=means, grad_products=grad_products, symbols=symbols, graphs=graphs,
            channels=channels,
        )  # fmt: skip
        return grad_x, (means.T @ grad_products).to(weight.dtype) if grad_weight is None else grad_weight
