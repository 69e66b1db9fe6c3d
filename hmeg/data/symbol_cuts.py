"""Pictures of single symbols, cut out of a data set's images."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from hmeg.model.glyphs import hook_shares

from .crohme import CrohmeDataset

_GUEST, _SMALLER = 0.7, 0.9  # of its area, in another symbol's box: stands in it; of that box's area: is smaller


def cut_symbols(dataset: CrohmeDataset, size: int, hooks: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """All symbols of a data set, cut out at their boxes and resampled: ink (V, size, size) uint8, class ids (V,).

    What stands inside another symbol's box, a radicand under its root, is wiped out of the latter's picture.

    hooks  whether half of a root's columns are its hook (:func:`hmeg.model.glyphs.hook_shares`); size is even then
    """
    ids = np.concatenate([graph.symbol_ids() for graph in dataset.graphs])
    ink = np.empty((len(ids), size, size), dtype=np.uint8)
    row = 0
    for index, graph in enumerate(dataset.graphs):
        assert graph.boxes is not None
        pixels, boxes = dataset.image(index), graph.boxes * dataset.size
        image = Image.fromarray(pixels)
        shares = hook_shares(torch.from_numpy(ids[row : row + len(boxes)]), torch.from_numpy(graph.boxes)).tolist()
        for box, share in zip(boxes, shares, strict=True):
            guests = _inside(box, boxes)
            source = Image.fromarray(_wiped(pixels, guests)) if len(guests) else image
            middle, half = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2, 1.0)
            x0, y0 = np.clip(middle - half, 0, dataset.size)
            x1, y1 = np.clip(middle + half, 0, dataset.size)
            if hooks and share < 0.5:
                bend = x0 + share * (x1 - x0)
                ink[row, :, : size // 2] = _resampled(source, (x0, y0, bend, y1), size // 2, size)
                ink[row, :, size // 2 :] = _resampled(source, (bend, y0, x1, y1), size // 2, size)
            else:
                ink[row] = _resampled(source, (x0, y0, x1, y1), size, size)
            row += 1
    return ink, ids


def stands_alone(dataset: CrohmeDataset) -> np.ndarray:
    """Whether a symbol's picture shows nothing but itself, as far as boxes can tell: (V,) bool.

    No other symbol's box may reach into its own, but for those that :func:`cut_symbols` wipes out.
    """
    found = []
    for graph in dataset.graphs:
        assert graph.boxes is not None
        boxes = graph.boxes * dataset.size
        for row, box in enumerate(boxes):
            others = np.delete(boxes, row, axis=0)
            low, high = np.maximum(others[:, :2], box[:2]), np.minimum(others[:, 2:], box[2:])
            reaching = others[(high - low >= 1).all(axis=1)]
            found.append(len(reaching) == len(_inside(box, reaching)))
    return np.array(found)


def _resampled(image: Image.Image, box: tuple[float, float, float, float], width: int, height: int) -> np.ndarray:
    """Ink of a part of an image: (height, width) uint8, 255 is black."""
    ink: np.ndarray = 255 - np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
    return ink


def _inside(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Those of ``boxes`` that lie in ``box`` for the most part and are clearly smaller, so itself not."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared, area = (high - low).clip(min=0).prod(axis=1), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    guests: np.ndarray = boxes[(shared >= _GUEST * area) & (area < _SMALLER * (box[2:] - box[:2]).prod())]
    return guests


def _wiped(pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    pixels = pixels.copy()
    for x0, y0, x1, y1 in boxes:
        pixels[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 255
    return pixels
