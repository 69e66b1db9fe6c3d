"""What generation yields: one image and everything known about it."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from hmeg.data.relation_records import to_records
from hmeg.graph import SymbolGraph
from hmeg.graph.baselines import baseline_from, to_latex
from hmeg.graph.label_graph import write_symlg
from hmeg.graph.tree import NotATreeError


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of handwriting with its labels.

    array    (H, W) uint8 for grey models, (H, W, 3) for colour ones; dark ink on light paper
    graph    the expression; ``graph.boxes`` are the boxes it was drawn at, in [0, 1] of the image's width and height,
             not clipped
    latex    LaTeX of the expression, when it is known
    boxes    (V, 4) float64: x0, y0, x1, y1 in pixels of this image around each symbol's ink, within the image,
             x0 <= x1 and y0 <= y1, two decimals (:mod:`hmeg.generation.ink`)
    seed, index  what its noise was drawn from
    weights  which weights drew it: name@hash
    line     line of the input file it came from, when there is one
    name     what that line calls it, in a line `name<TAB>latex`
    x_height  how high letters like x of the main row are, in pixels of the image as drawn
             (:func:`hmeg.canvas.x_height`)
    augment  how it was varied after it was drawn, operation by operation, when it was; ``boxes`` went along

    What takes a while to find out is found out once, and goes along when a sample is sent to another process.
    """

    array: np.ndarray
    graph: SymbolGraph
    latex: str | None
    boxes: np.ndarray
    seed: int
    index: int
    weights: str
    line: int | None = None
    name: str | None = None
    augment: list[dict[str, Any]] | None = None
    x_height: float | None = None

    def without_pixels(self) -> Sample:
        """The sample with an empty array, and all that was found out already: what a label needs of it."""
        bare = copy.copy(self)
        bare.__dict__["shape"] = self.shape
        object.__setattr__(bare, "array", np.empty((0, 0), np.uint8))
        return bare

    @property
    def image(self) -> Image.Image:
        """The image for Pillow: mode L or RGB."""
        return Image.fromarray(self.array)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self.array.shape[1], self.array.shape[0]

    @cached_property
    def ink(self) -> float:
        """How dark the image is on the mean: 0 is white all over, 1 black; four decimals."""
        return round(1 - float(self.array.mean(dtype=np.float64)) / 255, 4)

    @cached_property
    def tokens(self) -> list[str] | None:
        """LaTeX tokens of the graph, as recognisers are trained on; None for a graph that LaTeX cannot write."""
        try:
            return to_latex(baseline_from(self.graph)).split()
        except ValueError:
            return None

    @cached_property
    def symlg(self) -> str | None:
        """The symbol label graph (:func:`hmeg.graph.label_graph.write_symlg`); None for a graph that is no forest."""
        try:
            return write_symlg(self.graph)
        except NotATreeError:
            return None

    def label(self) -> dict[str, Any]:
        """Everything but the image as an object for JSON. Every key has values of one type, whatever the sample.

        Readers of tables need that: so relations are objects, the seed, which may have 64 bits, and what --augment
        drew, different for each operation, are text.
        """
        label: dict[str, Any] = {
            "width": self.shape[0],
            "height": self.shape[1],
            "latex": self.latex,
            "tokens": self.tokens,
            "symbols": list(self.graph.symbols),
            "boxes": self.boxes.tolist(),
            "relations": to_records(self.graph.relations),
            "symlg": self.symlg,
            "ink": self.ink,
            "seed": str(self.seed),
            "index": self.index,
            "weights": self.weights,
        }
        if self.x_height is not None:
            label["x_height"] = self.x_height
        if self.line is not None:
            label["line"] = self.line
        if self.name is not None:
            label["name"] = self.name
        if self.augment is not None:
            label["augment"] = json.dumps(self.augment)
        return label
