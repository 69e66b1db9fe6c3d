"""The weights that published numbers were computed with: they follow from names and shapes, so none need be stored."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def recipe(module: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The state dict of a published module: ``shapes`` of its keys, from a manifest's ``state_dict_shapes``."""
    state = {}
    for key, shape in shapes.items():
        seed = zlib.crc32(f"{module}.{key}".encode())
        a = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
        if key.endswith("running_var"):
            a = np.abs(a) * np.float32(0.5) + np.float32(0.5)
        elif key.endswith("running_mean"):
            a = a * np.float32(0.1)
        elif key.endswith("num_batches_tracked"):
            a = np.zeros(shape, np.int64)
        elif len(shape) >= 2 and "embeddings" not in key:
            a = a * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        elif len(shape) == 1:
            a = 1 + np.float32(0.1) * a if key.endswith("weight") else np.float32(0.05) * a
        state[key] = torch.from_numpy(np.asarray(a))
    return state
