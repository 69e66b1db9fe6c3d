"""How each symbol is written: a few typical glyphs per class, found among all its handwriting."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hmeg.graph import vocabulary

from .crohme import CrohmeDataset
from .symbol_cuts import cut_symbols, stands_alone

_ITERATIONS = 15
_MEMBERS = 4  # a mode stands for at least this many examples on average
_SIDE_WEIGHT = 3.0  # what a factor of e in width or height counts for, where the difference of a cell counts 0 to 1
_RARE = 0.25  # of the examples a mode has on average: fewer are written in no common way
_BLOT, _BLOT_SIDE = 0.55, 5 / 256  # mean ink of a picture, and shorter side of its boxes, above which it shows nothing
_PARTS = 4  # examples that a mode's picture is made of, if so many agree
_AGREE, _SPECK = 0.8, 0.001  # see _agreement; mean squared ink of a quarter that is hardly worth looking at
_NEIGHBOURS, _SCARCE = 15, 100  # examples most like a picture, see _recognisable; a class counts as that much larger
_LARGE = 0.15  # of the image: sides of boxes in which a pen is so thin that two hands hardly ever meet


@dataclass
class GlyphModes:
    """Typical glyphs of every class, the most frequent first.

    ink         (102, modes, size, size) float32 in [0, 1]: typical ink of a mode, row = class id, 0 where there is none
    frequency   (102, modes) float32: shares, summing to 1, 0 for modes that are not to be used: see :func:`_useful`;
                mode 0 has all of a class that never occurs
    log_sides   (102, modes, 2) float32: mean logarithms of width and height of the boxes of a mode's examples
    parts       (102, modes) int64: how many examples a mode's picture was made of
    assignment  for every expression of the data set (V,) int64: the mode each of its symbols is nearest to
    examples    for every expression of the data set (V, size, size) uint8: the ink of its symbols, 255 is black
    """

    ink: Tensor
    frequency: Tensor
    log_sides: Tensor
    parts: Tensor
    assignment: list[np.ndarray]
    examples: list[np.ndarray]


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


def _agreement(parts: Tensor) -> Tensor:
    """How far pictures (n, size, size) show the same, in that quarter where they do least.

    Squared ink of their mean over the mean of theirs: 1 if they are one, 1/n if they have no ink in common.
    """
    both = F.adaptive_avg_pool2d(parts.mean(dim=0, keepdim=True).square(), 2)
    each = F.adaptive_avg_pool2d(parts.square().mean(dim=0, keepdim=True), 2)
    return ((both + _SPECK) / (each + _SPECK)).amin()


def _typical(examples: Tensor) -> tuple[Tensor, int]:
    """One picture (size, size) for examples (count, size, size) of a way of writing, and how many it is made of.

    The mean of all is a blur. This is the mean of few that are much alike, found where examples are densest, with the
    greys that those have: strokes of a mean are as wide and as dark as theirs, instead of wider and paler.
    As many as four if they agree; a single one where not even two do. Copies count once.
    """
    examples = examples.unique(dim=0)
    points = examples.flatten(1)
    # Compared at equal amounts of ink: what has little of it would be near to everything.
    compared = F.normalize(points, dim=1)
    distances = torch.cdist(compared, compared)
    for count in range(min(_PARTS, len(points)), 1, -1):
        near, rows = distances.topk(count, largest=False)
        parts = rows[near[:, -1].argmin()]
        if _agreement(examples[parts]) >= _AGREE:
            picture = torch.empty_like(points[0])
            picture[points[parts].mean(dim=0).argsort()] = points[parts].sort(dim=1).values.mean(dim=0)
            return picture.view_as(examples[0]), count
    return examples[distances.topk(min(2, len(points)), largest=False).values[:, -1].argmin()], 1


def _useful(ink: Tensor, members: Tensor, parts: Tensor, log_sides: Tensor, recognisable: Tensor) -> Tensor:
    """Which modes (count,) are to be used; all of them where none is good.

    Left out are ways of writing that are rare or that no two examples agree in, large ones excepted; blots: of symbols
    so small that the pen fills them, not of those so narrow; and what looks like another class, as a 1 that is a slash.

    ink (count, size, size), members and parts (count,), log_sides (count, 2), recognisable (count,) bool
    """
    blot = (ink.mean(dim=(1, 2)) > _BLOT) & (log_sides.amin(dim=1) > math.log(_BLOT_SIDE))
    agreed = (parts > 1) | (log_sides.mean(dim=1) > math.log(_LARGE))
    rare = members < _RARE * members[members > 0].float().mean()
    useful = (members > 0) & agreed & ~rare & ~blot & recognisable
    return useful if useful.any() else members > 0


def _recognisable(pictures: Tensor, classes: Tensor, points: Tensor, ids: Tensor) -> Tensor:
    """Which pictures look most like their own class, however frequent others are: (count,) bool.

    Judged by the examples most like a picture, in shape of box too: of each class, what share of its examples is there.

    pictures (count, D) of classes (count,); examples points (V, D) of classes ids (V,)
    """
    near, kinds = [], []
    for symbol in ids.unique():
        distances = torch.cdist(pictures, points[ids == symbol])
        near.append(distances.topk(min(_NEIGHBOURS, distances.shape[1]), largest=False).values)
        kinds.append(symbol.expand(near[-1].shape[1]))
    together = torch.cat(near, dim=1)
    rows = together.topk(min(_NEIGHBOURS, together.shape[1]), largest=False).indices
    sizes = torch.bincount(ids, minlength=vocabulary.NUM_SYMBOL_CLASSES) + _SCARCE
    found = torch.zeros(len(pictures), len(sizes))
    found = found.scatter_add(1, torch.cat(kinds)[rows], torch.ones(rows.shape)) / sizes
    return found.gather(1, classes[:, None])[:, 0] >= found.amax(dim=1)


def glyph_modes(dataset: CrohmeDataset, size: int, modes: int, seed: int = 0, hooks: bool = False) -> GlyphModes:
    """Clusters every class's handwriting into at most ``modes`` typical glyphs; fewer where examples are few.

    Examples are alike if their pictures are, and if they are about as wide and as high: a pen has one width, so that
    small symbols are bold and large ones thin. The same data set, sizes and seed give the same modes.

    hooks  see :func:`hmeg.data.symbol_cuts.cut_symbols`; size is even then
    """
    ink, ids = cut_symbols(dataset, size, hooks)
    clean = torch.from_numpy(stands_alone(dataset))
    points, sides = torch.from_numpy(ink.reshape(len(ink), -1)).float() / 255, _log_sides(dataset)
    assignment = torch.zeros(len(ids), dtype=torch.int64)
    typical = torch.zeros(vocabulary.NUM_SYMBOL_CLASSES, modes, size, size)
    members, parts = torch.zeros(2, vocabulary.NUM_SYMBOL_CLASSES, modes, dtype=torch.int64)
    log_sides = torch.zeros(vocabulary.NUM_SYMBOL_CLASSES, modes, 2)
    generator = torch.Generator().manual_seed(seed)
    for symbol in np.unique(ids).tolist():
        rows = torch.from_numpy(np.flatnonzero(ids == symbol))
        count = max(1, min(modes, len(rows) // _MEMBERS))
        _, nearest = _k_means(torch.cat([points[rows], _SIDE_WEIGHT * sides[rows]], dim=1), count, generator)
        assignment[rows] = nearest
        members[symbol] = torch.bincount(nearest, minlength=modes)
        for mode in members[symbol].nonzero()[:, 0].tolist():
            written = rows[nearest == mode]
            # Nothing of their neighbours, if there are some to choose from.
            alone = written[clean[written]]
            shown = alone if len(alone) >= min(_PARTS, len(written) / 4) else written
            picture, parts[symbol, mode] = _typical(points[shown].unflatten(1, (size, size)))
            typical[symbol, mode], log_sides[symbol, mode] = picture, sides[written].mean(dim=0)
    there = members > 0
    recognisable = torch.zeros_like(there)
    recognisable[there] = _recognisable(
        _with_aspect(typical[there].flatten(1), log_sides[there]),
        there.nonzero()[:, 0],
        _with_aspect(points, sides),
        torch.from_numpy(ids),
    )
    frequency = torch.zeros(vocabulary.NUM_SYMBOL_CLASSES, modes)
    frequency[:, 0] = 1
    for symbol in there.any(dim=1).nonzero()[:, 0].tolist():
        known = (typical[symbol], members[symbol], parts[symbol], log_sides[symbol], recognisable[symbol])
        kept = members[symbol] * _useful(*known)
        frequency[symbol] = kept / kept.sum()
    ends = np.cumsum([len(graph) for graph in dataset.graphs])[:-1]
    return GlyphModes(typical, frequency, log_sides, parts, np.split(assignment.numpy(), ends), np.split(ink, ends))


def _log_sides(dataset: CrohmeDataset) -> Tensor:
    """Logarithms of width and height of all symbols' boxes: (V, 2) float32; a side counts as a pixel at least."""
    boxes = torch.from_numpy(np.concatenate([graph.boxes for graph in dataset.graphs if graph.boxes is not None]))
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=1 / dataset.size).log().float()


def _with_aspect(pictures: Tensor, log_sides: Tensor) -> Tensor:
    """Pictures (count, D) and the shapes of their boxes, of logarithmic sides (count, 2), as points (count, D + 1)."""
    return torch.cat([pictures, _SIDE_WEIGHT * (log_sides[:, :1] - log_sides[:, 1:])], dim=1)
