"""The weight bundles that operators take, with the shapes they must have."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class MaskWeights(NamedTuple):
    """Weights of refine_masks, K hidden channels."""

    conv1_weight: Tensor  # (K, 4, 3, 3)
    conv1_bias: Tensor  # (K,)
    bn_weight: Tensor  # (K,)
    bn_bias: Tensor  # (K,)
    running_mean: Tensor  # (K,), updated in place in training mode
    running_var: Tensor  # (K,), updated in place in training mode
    conv2_weight: Tensor  # (1, K, 3, 3)
    conv2_bias: Tensor  # (1,)


class TripleWeights(NamedTuple):
    """Weights of triple_message: input C, hidden K, output C'."""

    w1: Tensor  # (K, 3 C)
    b1: Tensor  # (K,)
    w2: Tensor  # (2 K + C', K)
    b2: Tensor  # (2 K + C',)
    w3: Tensor  # (K, K)
    b3: Tensor  # (K,)
    w4: Tensor  # (C', K)
    b4: Tensor  # (C',)
