"""An operation that kornia does not have: heavier and lighter strokes."""

from __future__ import annotations

import math
from typing import Any

import torch
from kornia.augmentation import IntensityAugmentationBase2D
from kornia.augmentation.random_generator import PlainUniformGenerator
from kornia.morphology import dilation, erosion

_WIDEST = 16.0


class RandomStrokeWeight(IntensityAugmentationBase2D):
    """Dark strokes on light paper become wider (weight > 0) or thinner (< 0) by ``|weight|`` pixels on each side.

    weight  range it is drawn from, uniformly, in [-16, 16]
    p       how often it is applied

    Whole pixels are steps of morphology with a cross; the part of a pixel is a mixture of two steps.
    """

    def __init__(self, weight: tuple[float, float] = (-0.8, 1.2), p: float = 0.5) -> None:
        super().__init__(p=p)
        self._param_generator = PlainUniformGenerator((weight, "weight", 0.0, (-_WIDEST, _WIDEST)))

    def apply_transform(
        self,
        input: torch.Tensor,
        params: dict[str, torch.Tensor],
        flags: dict[str, Any],
        transform: torch.Tensor | None = None,
    ) -> torch.Tensor:
        weight = float(params["weight"][0])
        cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
        step = erosion if weight > 0 else dilation  # ink is dark: a minimum widens it
        before, after = input, input
        for _ in range(math.ceil(abs(weight))):
            before, after = after, step(after, cross)
        part = abs(weight) - max(0, math.ceil(abs(weight)) - 1)
        return torch.lerp(before, after, part)
