"""Which symbols of images can be read: by how many symbols their expression has, and by how high they are.

The reader is the bundled classifier (:mod:`hmeg.model.symbol_classifier`), shown every symbol cut out at its box.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hmeg.canvas import x_height
from hmeg.image_sets import ImageSet
from hmeg.model.symbol_classifier import SymbolClassifier, bundled_classifier, read_symbols

from .sections import Section

LENGTHS = (1, 10, 20, 40, 61)  # symbols of an expression: where ranges begin
HEIGHTS = (0, 6, 9, 12, 16, 24, 40)  # of a symbol's box in pixels, likewise
QUANTILES = (0.01, 0.05, 0.25, 0.5)
_UNIT = 256  # pixels of the training square, whose pen symbols are measured with


@dataclass(frozen=True)
class Reading:
    """What is read of a set of images, a row a symbol.

    right    (S,) bool: whether it is read as what it is
    lengths  (S,) int64: symbols of its expression
    heights  (S,) float64: of its box, pixels
    x_heights  (N,) float64: of a letter x of each image, pixels (:func:`hmeg.canvas.x_height`)
    smallest (N,) float64: height of the smallest letter or digit of each image, pixels: the lowest of the symbols whose
             box is no flatter than half as high as wide; of all where there is no such
    """

    right: np.ndarray
    lengths: np.ndarray
    heights: np.ndarray
    x_heights: np.ndarray
    smallest: np.ndarray


def read(
    images: ImageSet,
    recogniser: SymbolClassifier | None = None,
    limit: int | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> Reading:
    """Read the symbols of all images that have boxes, or of the first ``limit`` of them.

    Images may be of any shape. ``ValueError`` if no image has boxes.
    """
    recogniser = recogniser or bundled_classifier()
    right, lengths, heights = [], [], []
    x_heights: list[float] = []
    smallest: list[float] = []
    for row, entry in enumerate(images.entries):
        if limit is not None and len(x_heights) >= limit:
            break
        graph = entry.graph
        progress(1)
        if graph is None or graph.boxes is None or not len(graph):
            continue
        pixels = images[row]
        boxes = torch.from_numpy(np.asarray(graph.boxes, dtype=np.float32))
        of_one = torch.zeros(len(graph), dtype=torch.int64)
        image = torch.tensor(pixels, dtype=torch.float32).div_(255)[None, None]
        ids = read_symbols(recogniser, image, boxes, of_one).numpy()
        in_pixels = graph.boxes.astype(np.float64) * np.array([pixels.shape[1], pixels.shape[0]] * 2)
        high, wide = in_pixels[:, 3] - in_pixels[:, 1], in_pixels[:, 2] - in_pixels[:, 0]
        right.append(ids == graph.symbol_ids())
        lengths.append(np.full(len(graph), len(graph)))
        heights.append(high)
        x_heights.append(x_height(graph, in_pixels / _UNIT) * _UNIT)
        upright = high[2 * high >= wide]
        smallest.append((upright if len(upright) else high).min())
    if not right:
        raise ValueError(f"{images.source}: no image has boxes of its symbols")
    return Reading(
        np.concatenate(right),
        np.concatenate(lengths),
        np.concatenate(heights),
        np.array(x_heights),
        np.array(smallest),
    )


def by_range(right: np.ndarray, values: np.ndarray, starts: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Range -> symbols in it, and the share of them that is read (None where there are none)."""
    found = {}
    for first, after in zip(starts, [*starts[1:], None], strict=True):
        inside = values >= first if after is None else (values >= first) & (values < after)
        name = f"{first} and more" if after is None else f"{first} to {after - 1}" if after - first > 1 else str(first)
        read = float(right[inside].mean()) if inside.any() else None
        found[name] = {"symbols": int(inside.sum()), "read": read}
    return found


def summary(reading: Reading) -> dict[str, Any]:
    """What programs read of a reading."""
    return {
        "images": len(reading.x_heights),
        "symbols": len(reading.right),
        "read": float(reading.right.mean()),
        "by_length": by_range(reading.right, reading.lengths, LENGTHS),
        "by_height": by_range(reading.right, np.floor(reading.heights), HEIGHTS),
        "x_height": {f"{q:g}": float(np.quantile(reading.x_heights, q)) for q in QUANTILES},
        "smallest": {f"{q:g}": float(np.quantile(reading.smallest, q)) for q in QUANTILES},
    }


def legibility_section(readings: Mapping[str, Reading], settings: Mapping[str, Any], command: str) -> Section:
    """The section ``legibility``: sets of images beside each other."""
    summaries = {name: summary(reading) for name, reading in readings.items()}
    section = Section("legibility", "Legibility", {**settings, "sets": summaries}, command)
    section.text(
        "Share of symbols that the bundled classifier reads, each cut out at its box. The classifier learned from "
        "CROHME's handwriting in squares of 256 pixels."
    )
    for what, key in (("symbols of the expression", "by_length"), ("height of the symbol, pixels", "by_height")):
        names = list(summaries)
        ranges = list(summaries[names[0]][key])
        section.table([what, *names], [[one, *(_shown(summaries[name][key][one]) for name in names)] for one in ranges])
    section.table(
        ["pixels, by quantile of the images", *(f"{100 * q:g} %" for q in QUANTILES)],
        [
            [f"{title}: {name}", *(f"{value:.1f}" for value in of_set[key].values())]
            for name, of_set in summaries.items()
            for title, key in (("height of a letter x", "x_height"), ("height of the smallest letter", "smallest"))
        ],
    )
    return section


def _shown(part: Mapping[str, Any]) -> str:
    return "none" if part["read"] is None else f"{100 * part['read']:.1f} % of {part['symbols']:,}"
