"""Whose ink is it? Every dark pixel of an image is given to a symbol; boxes and masks in labels are what each has.

Boxes that images are drawn at say where a symbol was meant to be. Networks keep to them by some pixels only, and a
symbol alone in training's square, a dot of 5 pixels in a box of 80, not at all.

Ink that hangs together is a piece. A piece belongs to the smallest box that holds nearly all of it. One that reaches
through several boxes, symbols that touch, is divided: each pixel goes to the smallest box that it lies in, or to the
nearest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

DARK = 0.3  # how dark a pixel is that counts as ink, of 0 paper to 1 black
_WHOLE = 0.8  # of a piece's pixels in a box: it is the box's
_PART = 0.15  # of a piece's pixels in a box that has a piece of its own: it may have these too
_REACH = 0.15  # ink farther from every box than this share of the box's longer side, and than _STEPS, is nobody's
_STEPS = 8.0
_EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Ink:
    """Whose ink the pixels of an image are.

    owner  (H, W) int32: row of the symbol, -1 for paper and for specks that no symbol is near
    """

    owner: np.ndarray

    def boxes(self, drawn_at: np.ndarray) -> np.ndarray:
        """(V, 4) float64 pixels around each symbol's ink; the box it was drawn at for a symbol without any."""
        fitted = np.array(drawn_at, dtype=np.float64)
        for row, place in enumerate(ndimage.find_objects(self.owner + 1, max_label=len(fitted))):
            if place is not None:
                down, across = place
                fitted[row] = across.start, down.start, across.stop, down.stop
        return fitted


def ink_of(array: np.ndarray, boxes: np.ndarray) -> Ink:
    """Divide the ink of an image among its symbols.

    array  (H, W) or (H, W, 3) uint8, dark ink on light paper
    boxes  (V, 4) pixels, upright: where the symbols were drawn
    """
    grey = array if array.ndim == 2 else array.mean(axis=2)
    dark = grey <= 255 * (1 - DARK)
    pieces, count = ndimage.label(dark, structure=_EIGHT)
    owner = np.full(dark.shape, -1, dtype=np.int32)
    if not count or not len(boxes):
        return Ink(owner)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    shares = np.stack([_inside(pieces, box, count) for box in boxes]) / np.maximum(sizes, 1)  # (V, count + 1)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    by_area = np.argsort(areas, kind="stable")
    first = np.argmax(shares[by_area] >= _WHOLE, axis=0)  # of each piece: place in by_area of the smallest such box
    keeper = np.where((shares >= _WHOLE).any(axis=0), by_area[first], -1)
    has_own = np.zeros(len(boxes), dtype=bool)
    has_own[keeper[1:][keeper[1:] >= 0]] = True
    for piece, place in enumerate(ndimage.find_objects(pieces), start=1):
        share = shares[:, piece]
        claims = (share >= np.where(has_own, _PART, 1e-9)) | (np.arange(len(boxes)) == keeper[piece])
        if keeper[piece] >= 0:
            claims &= areas <= areas[keeper[piece]]
        claiming = np.flatnonzero(claims)
        mine = pieces[place] == piece
        if len(claiming) == 1:
            owner[place][mine] = claiming[0]
            continue
        rows, columns = np.nonzero(mine)
        points = np.stack([columns + place[1].start + 0.5, rows + place[0].start + 0.5], axis=1)
        among = claiming if len(claiming) else np.arange(len(boxes))
        owner[place][mine] = _nearest(points, boxes, among, areas)
    return Ink(owner)


def _inside(pieces: np.ndarray, box: np.ndarray, count: int) -> np.ndarray:
    """(count + 1,): pixels of each piece in a box, one pixel around it counted in; 0 of the paper."""
    x0, y0 = np.maximum(np.floor(box[:2]).astype(int) - 1, 0)
    x1, y1 = np.ceil(box[2:]).astype(int) + 1
    found = np.bincount(pieces[y0:y1, x0:x1].ravel(), minlength=count + 1)
    found[0] = 0
    return found


def _nearest(points: np.ndarray, boxes: np.ndarray, among: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """The symbol (P,) int32 of each point (P, 2): of the smallest box it lies in, else of the nearest, -1: too far."""
    low, high = boxes[among, :2], boxes[among, 2:]
    away = np.maximum(np.maximum(low - points[:, None], points[:, None] - high), 0).max(axis=2)  # (P, among)
    order = np.lexsort((np.broadcast_to(areas[among], away.shape), away), axis=1)[:, 0]
    nearest = among[order]
    reach = np.maximum(_STEPS, _REACH * (boxes[nearest, 2:] - boxes[nearest, :2]).max(axis=1))
    return np.where(away[np.arange(len(points)), order] <= reach, nearest, -1).astype(np.int32)
