"""normal_noise on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .launcher import Launcher


class NormalNoise(Launcher):
    def normal_noise(self, indices: Tensor, seed: int, shape: Sequence[int]) -> Tensor:
        indices = indices.contiguous()
        noise = indices.new_empty((len(indices), *shape), dtype=torch.float32)
        self._run("normal_noise", indices.data_ptr(), noise.data_ptr(), len(indices), prod(shape), seed)
        return noise
