"""What is done to an image before a recogniser sees it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KEEP = -1
_INK = 48  # of 255: fainter is paper


@dataclass(frozen=True)
class Preparation:
    """How images are cut and made smaller; part of a checkpoint, for what it was trained on it has to be shown.

    trim    cut paper away, but for this many pixels around the ink; -1: keep the image as it is
    shrink  average squares of this many pixels a side into one; a border that fills no square is filled up with paper
    """

    trim: int = KEEP
    shrink: int = 1

    def __post_init__(self) -> None:
        if self.trim < KEEP:
            raise ValueError(f"--trim must be at least {KEEP}, got {self.trim}")
        if not 1 <= self.shrink <= 16:
            raise ValueError(f"--shrink must be from 1 to 16, got {self.shrink}")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W) uint8, dark ink on light paper -> (H', W') uint8, light ink on paper of 0."""
        ink = 255 - image
        if self.trim != KEEP:
            rows, columns = np.flatnonzero((ink >= _INK).any(1)), np.flatnonzero((ink >= _INK).any(0))
            if len(rows):
                ink = ink[max(rows[0] - self.trim, 0) : rows[-1] + 1 + self.trim,
                          max(columns[0] - self.trim, 0) : columns[-1] + 1 + self.trim]  # fmt: skip
        if self.shrink > 1:
            height, width = ink.shape
            side = self.shrink
            full = np.pad(ink, ((0, -height % side), (0, -width % side)))
            squares = full.reshape(full.shape[0] // side, side, full.shape[1] // side, side)
            ink = (squares.mean(axis=(1, 3)) + 0.5).astype(np.uint8)
        return np.ascontiguousarray(ink)
