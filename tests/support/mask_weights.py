"""Weights of refine_masks for tests: random ones, and bundles of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hmeg.ops import MaskWeights

STATISTICS = ("running_mean", "running_var")


def weights(hidden: int) -> dict[str, Tensor]:
    """The fields of MaskWeights, float64, K = ``hidden``."""
    generator = torch.Generator().manual_seed(hidden)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return {
        "conv1_weight": normal(hidden, 4, 3, 3) / 6, "conv1_bias": 0.1 * normal(hidden),
        "bn_weight": 1 + 0.1 * normal(hidden), "bn_bias": 0.1 * normal(hidden),
        "running_mean": 0.1 * normal(hidden), "running_var": 0.5 + normal(hidden).abs(),
        "conv2_weight": normal(1, hidden, 3, 3) / (3 * hidden**0.5), "conv2_bias": 0.1 * normal(1),
    }  # fmt: skip


def bundle_of(tensors: Mapping[str, Tensor]) -> MaskWeights:
    """Weights whose running statistics are copies: training mode writes to them."""
    return MaskWeights(*(tensors[n].clone() if n in STATISTICS else tensors[n] for n in MaskWeights._fields))
