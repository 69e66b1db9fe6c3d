"""Samples that no network drew."""

from __future__ import annotations

import numpy as np

from hmeg.graph import Relation, SymbolGraph
from hmeg.image_sets.sample import Sample


def sample(index: int = 0, latex: str | None = "x y", colour: bool = False) -> Sample:
    """Noise of 32 x 32, always the same for an index, with the labels of two symbols."""
    shape = (32, 32, 3) if colour else (32, 32)
    pixels = np.random.default_rng(index).integers(0, 256, shape).astype(np.uint8)
    graph = SymbolGraph(("x", "y"), (Relation(0, 1, "Right"),))
    return Sample(pixels, graph, latex, np.array([[0, 1.25, 8, 9], [9, 1, 31.5, 32]]), 11, index, "tiny@0123456789ab")
