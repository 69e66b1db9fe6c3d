"""normal_noise by native code."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .backend import NativeBackend


class NormalNoise(NativeBackend):
    def normal_noise(self, indices: Tensor, seed: int, shape: Sequence[int]) -> Tensor:
        noise = indices.new_empty((len(indices), *shape), dtype=torch.float32)
        self.call("normal_noise", indices=indices, out=noise, samples=len(indices), numbers=prod(shape), seed=seed)
        return noise
