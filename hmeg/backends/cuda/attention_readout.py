"""attention_readout on a GPU, in CUDA."""

from __future__ import annotations

from torch import Tensor

from ..pointers import DTYPE_CODES, accumulator
from .device import Launcher


class AttentionReadout(Launcher):
    def attention_readout(self, x: Tensor, weight: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        x, weight, batch = (self._device.given(t) for t in (x, weight, batch))
        symbols, channels = x.shape
        out = self._device.empty((num_graphs, channels), x)
        means, contexts = (self._device.empty((num_graphs, channels), x, accumulator(x.dtype)) for _ in range(2))
        scores = self._device.empty((symbols,), x, accumulator(x.dtype))
        self._launch("attention_readout_forward", x, DTYPE_CODES[x.dtype], x.data_ptr(), weight.data_ptr(),
                     batch.data_ptr(), out.data_ptr(), means.data_ptr(), contexts.data_ptr(), scores.data_ptr(),
                     symbols, num_graphs, channels)  # fmt: skip
        return out

    def attention_readout_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad, x, weight, batch = (self._device.given(t) for t in (grad, x, weight, batch))
        (symbols, channels), graphs = x.shape, len(grad)
        grad_x = self._device.empty((symbols, channels), x)
        means, grad_products, contexts, grad_means = (
            self._device.empty((graphs, channels), x, accumulator(x.dtype)) for _ in range(4)
        )
        scores, pulls = (self._device.empty((symbols,), x, accumulator(x.dtype)) for _ in range(2))
        self._launch("attention_readout_backward", x, DTYPE_CODES[x.dtype], grad.data_ptr(), x.data_ptr(),
                     weight.data_ptr(), batch.data_ptr(), grad_x.data_ptr(), means.data_ptr(),
                     grad_products.data_ptr(), contexts.data_ptr(), grad_means.data_ptr(), scores.data_ptr(),
                     pulls.data_ptr(), symbols, graphs, channels)  # fmt: skip
        return grad_x, (means.T @ grad_products).to(weight.dtype)
