"""How the symbols of training images are written: what models with glyphs draw them from while they learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_THINNER, _THICKER = 0.4, 1.5  # cells by which strokes become thinner or thicker at most, on either side
_BLUR = 0.7  # and towards their own blur


@dataclass(frozen=True)
class TrainingGlyphs:
    """The glyphs of a data set's symbols.

    modes     for every expression (V,) int64: the mode each symbol is nearest to
    examples  for every expression (V, size, size) uint8, 255 is black: its own handwriting, coarse; None if symbols are
              drawn from the typical glyphs of their modes
    """

    modes: Sequence[np.ndarray]
    examples: Sequence[np.ndarray] | None

    def modes_of(self, rows: np.ndarray) -> Tensor:
        """Modes (V,) int64 of these expressions' symbols."""
        return torch.from_numpy(np.concatenate([self.modes[int(row)] for row in rows]))

    def ink_of(self, rows: np.ndarray, generator: torch.Generator) -> Tensor | None:
        """Their own handwriting (V, size, size) float32 in [0, 1], :func:`varied`; None if it is not drawn from."""
        if self.examples is None:
            return None
        ink = torch.from_numpy(np.concatenate([self.examples[int(row)] for row in rows])).float() / 255
        return varied(ink, generator)


def varied(ink: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (V, size, size) in [0, 1], each thinner or thicker and more blurred by a random amount.

    A picture's strokes fit its own box. Typical glyphs are stretched into boxes of other sizes, where a stroke must
    become one pen wide again: that is what the decoder learns from these.
    """
    weight, blur = torch.rand(2, len(ink), 1, 1, generator=generator)
    weight = weight * (_THINNER + _THICKER) - _THINNER
    ink = torch.lerp(ink, -_thicker(-ink), (-weight).clamp(min=0))
    ink = torch.lerp(ink, _thicker(ink), weight.clamp(0, 1))
    ink = torch.lerp(ink, _thicker(ink), (weight - 1).clamp(min=0))
    blurred = F.avg_pool2d(ink[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    return torch.lerp(ink, blurred, _BLUR * blur)


def _thicker(ink: Tensor) -> Tensor:
    """By a cell on either side."""
    return F.max_pool2d(ink[:, None], 3, 1, 1)[:, 0]
