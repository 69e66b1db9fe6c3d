"""normal_noise in Triton."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .launcher import Launcher


class NormalNoise(Launcher):
    def normal_noise(self, indices: Tensor, seed: int, shape: Sequence[int]) -> Tensor:
        noise = indices.new_empty((len(indices), *shape), dtype=torch.float32)
        self._kernels("normal_noise").normal_noise(indices.contiguous(), noise, seed)
        return noise
