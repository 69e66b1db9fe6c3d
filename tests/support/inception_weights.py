"""Inception's weights by recipe: every tensor follows from its name and shape, so that no large file is needed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmeg.evaluation.inception import Inception


def by_recipe(shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Standard normals seeded by the name, scaled so that activations stay of one order."""
    found = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            continue
        a = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape)).astype(np.float32)
        if name.endswith("running_var"):
            a = np.abs(a) * 0.5 + 0.5
        elif a.ndim > 1:
            a *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
        elif name.endswith("bn.weight"):
            a = 1 + 0.1 * a
        else:
            a *= 0.05
        found[name] = torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32))
    return found


def picture(side: int) -> Tensor:
    """(1, 3, side, side) float32 in [0, 1], in steps of 1/255."""
    values = np.random.RandomState(side).randint(0, 256, (1, 3, side, side))
    return torch.from_numpy((values / 255).astype(np.float32))


def saved(path: Path, of_2015: bool) -> Path:
    """A file of the weights of FID's Inception (``of_2015``) or of torchvision's."""
    torch.save(by_recipe({name: value.shape for name, value in Inception(of_2015).state_dict().items()}), path)
    return path
