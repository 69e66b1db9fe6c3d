"""Inputs of CROHME's sizes, made from a seed: no data set is needed to run a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Workload:
    """A batch of expressions: boxes (V, 4) float32, batch (V,) int64, num_graphs."""

    name: str
    boxes: Tensor
    batch: Tensor
    num_graphs: int


def crohme(num_graphs: int, seed: int = 0) -> Workload:
    """Expressions of about 9.7 symbols (1 to 40, as CROHME's training set), written from left to right."""
    random = np.random.RandomState(seed)
    sizes = [10] if num_graphs == 1 else np.clip(np.round(random.gamma(2.2, 4.4, num_graphs)), 1, 40).astype(int)
    return _written(f"crohme{num_graphs}", sizes, random)


def long() -> Workload:
    """Eight expressions of 60 symbols: many more relations than symbols."""
    return _written("long", [60] * 8, np.random.RandomState(0))


def _written(name: str, sizes: Sequence[int], random: np.random.RandomState) -> Workload:
    boxes = []
    for size in sizes:
        slot = 1.0 / size
        side = slot * random.uniform(0.5, 1.0, (size, 2)) * (1, random.uniform(1.0, 1.6))
        x0 = slot * np.arange(size) + random.uniform(0, 0.2, size) * slot
        y0 = np.clip(0.5 - side[:, 1] / 2 + random.uniform(-0.6, 0.6, size) * slot, 0, 1)
        boxes.append(np.stack([x0, y0, x0 + side[:, 0], np.minimum(y0 + side[:, 1], 1.0)], axis=1))
    return Workload(
        name,
        torch.from_numpy(np.concatenate(boxes)).float(),
        torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
        len(sizes),
    )
