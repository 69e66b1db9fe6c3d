"""Textbook attention_readout: one vector per expression, of its symbols weighted by attention."""

from __future__ import annotations

import torch
from torch import Tensor


def attention_readout(x: Tensor, weight: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """x (V, C), weight (C, C), batch (V,) -> (N, C): c = tanh(mean over symbols of x W), the sum of
    sigmoid(x_v . c) x_v."""

    def summed(rows: Tensor) -> Tensor:
        return rows.new_zeros((num_graphs, rows.shape[1])).index_add(0, batch, rows)

    count = summed(x.new_ones((len(x), 1)))
    context = torch.tanh(summed(x) / count.clamp(min=1) @ weight)
    score = torch.sigmoid((x * context[batch]).sum(dim=1, keepdim=True))
    return summed(score * x)
