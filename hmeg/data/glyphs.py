"""How each symbol is written: a few typical glyphs per class, found by k-means over all its handwriting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hmeg.graph import SymbolGraph, vocabulary

from .crohme import CrohmeDataset

_ITERATIONS = 15
# Mean ink where there is ink. In boxes an eighth of the image wide or smaller one way of writing gives 0.5 to 0.8 and a
# smear 0.2 to 0.35; in larger boxes the pen is thin, writers hardly meet, and both are lower.
_CLEAR, _CLEAR_LEAST = 0.42, 0.2
_CLEAR_SIDE, _CLEAR_SLOPE = -2.1, 0.13
_MEMBERS = 12  # a mode stands for at least this many examples on average


@dataclass
class GlyphModes:
    """Typical glyphs of every class, the most frequent first.

    ink         (102, modes, size, size) float32 in [0, 1]: mean ink of a mode, row = class id, 0 where there is none
    frequency   (102, modes) float32: shares, summing to 1, 0 for modes whose mean is a smear (of examples that have
                nothing in common but being unlike the others); mode 0 has all of a class that never occurs
    log_side    (102, modes) float32: mean logarithm of the sides (root of the area) of the boxes of a mode's examples
    assignment  for every expression of the data set (V,) int64: the mode each of its symbols is nearest to
    """

    ink: Tensor
    frequency: Tensor
    log_side: Tensor
    assignment: list[np.ndarray]


def cut_symbols(dataset: CrohmeDataset, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All symbols of a data set, cut out at their boxes and resampled: ink (V, size, size) uint8, class ids (V,).

    What stands wholly inside another symbol's box, a radicand under its root, is wiped out of the latter's picture.
    """
    ids = np.concatenate([graph.symbol_ids() for graph in dataset.graphs])
    ink = np.empty((len(ids), size, size), dtype=np.uint8)
    row = 0
    for index, graph in enumerate(dataset.graphs):
        assert graph.boxes is not None
        pixels, boxes = dataset.image(index), graph.boxes * dataset.size
        image = Image.fromarray(pixels)
        for box in boxes:
            guests = _inside(box, boxes)
            source = Image.fromarray(_wiped(pixels, guests)) if len(guests) else image
            middle, half = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2, 1.0)
            x0, y0 = np.clip(middle - half, 0, dataset.size)
            x1, y1 = np.clip(middle + half, 0, dataset.size)
            ink[row] = 255 - np.asarray(source.resize((size, size), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1)))
            row += 1
    return ink, ids


def _inside(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Those of ``boxes`` that lie inside ``box``, itself not counted, each less than half as large."""
    low, high = boxes[:, :2] >= box[:2], boxes[:, 2:] <= box[2:]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    guests: np.ndarray = boxes[(low & high).all(axis=1) & (area < 0.5 * (box[2:] - box[:2]).prod())]
    return guests


def _wiped(pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    pixels = pixels.copy()
    for x0, y0, x1, y1 in boxes:
        pixels[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 255
    return pixels


def _clear(ink: Tensor, log_side: Tensor) -> Tensor:
    """Which modes (count, size, size) have strokes: ink lies where ink is, instead of a little everywhere."""
    sharpness = ink.square().sum((1, 2)) / ink.sum((1, 2)).clamp(min=1e-6)
    wanted = (_CLEAR - _CLEAR_SLOPE * (log_side - _CLEAR_SIDE)).clamp(_CLEAR_LEAST, _CLEAR)
    return sharpness >= torch.minimum(sharpness.max() * 0.75, wanted)


def _sides(graph: SymbolGraph) -> np.ndarray:
    assert graph.boxes is not None
    sides: np.ndarray = graph.boxes[:, 2:] - graph.boxes[:, :2]
    return sides


def _k_means(points: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Lloyd's iterations from random points: centres (count, D) and the nearest centre of every point, by frequency."""
    centres = points[torch.randperm(len(points), generator=generator)[:count]].clone()
    nearest = torch.zeros(len(points), dtype=torch.int64)
    for _ in range(_ITERATIONS):
        nearest = torch.cdist(points, centres).argmin(dim=1)
        members = torch.bincount(nearest, minlength=count)
        sums = torch.zeros_like(centres).index_add(0, nearest, points)
        centres = torch.where(members[:, None] > 0, sums / members.clamp(min=1)[:, None], centres)
    order = torch.argsort(torch.bincount(nearest, minlength=count), descending=True, stable=True)
    return centres[order], torch.argsort(order)[nearest]


def glyph_modes(dataset: CrohmeDataset, size: int, modes: int, seed: int = 0) -> GlyphModes:
    """Clusters every class's handwriting into at most ``modes`` typical glyphs; fewer where examples are few.

    The same data set, sizes and seed give the same modes.
    """
    ink, ids = cut_symbols(dataset, size)
    means = torch.zeros(vocabulary.NUM_SYMBOL_CLASSES, modes, size, size)
    frequency = torch.zeros(vocabulary.NUM_SYMBOL_CLASSES, modes)
    frequency[:, 0] = 1
    log_side = torch.zeros(vocabulary.NUM_SYMBOL_CLASSES, modes)
    sides = torch.from_numpy(np.concatenate([_sides(graph) for graph in dataset.graphs]))
    logarithms = sides.clamp(min=1 / dataset.size).log().mean(dim=1)
    assignment = np.zeros(len(ids), dtype=np.int64)
    generator = torch.Generator().manual_seed(seed)
    for symbol in np.unique(ids):
        rows = np.flatnonzero(ids == symbol)
        points = torch.from_numpy(ink[rows].reshape(len(rows), -1)).float() / 255
        count = max(1, min(modes, len(rows) // _MEMBERS))
        centres, nearest = _k_means(points, count, generator)
        members = torch.bincount(nearest, minlength=count)
        # A centre that lost all its points is still one example: it stands for nothing and must not look clear.
        means[symbol, :count] = (centres * (members > 0)[:, None]).view(count, size, size)
        log_side[symbol, :count] = torch.bincount(nearest, logarithms[rows], count) / members.clamp(min=1)
        kept = members * _clear(means[symbol, :count], log_side[symbol, :count])
        frequency[symbol, :count] = kept / kept.sum()
        assignment[rows] = nearest.numpy()
    ends = np.cumsum([len(graph) for graph in dataset.graphs])
    return GlyphModes(means, frequency, log_side, np.split(assignment, ends[:-1]))
