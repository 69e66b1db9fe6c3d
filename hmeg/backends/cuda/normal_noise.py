"""normal_noise on a GPU, in CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .device import Launcher


class NormalNoise(Launcher):
    def normal_noise(self, indices: Tensor, seed: int, shape: Sequence[int]) -> Tensor:
        indices = self._device.given(indices)
        noise = self._device.empty((len(indices), *shape), indices, torch.float32)
        self._launch("normal_noise", indices, indices.data_ptr(), noise.data_ptr(), len(indices), prod(shape), seed)
        return noise
