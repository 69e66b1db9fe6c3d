"""Strokes -> anti-aliased image, with the symbols' boxes in the same frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

_OVERSAMPLING = 4  # strokes are drawn this much larger with Pillow and averaged down: 17 grey levels at an edge


@dataclass(frozen=True)
class Frame:
    """The similarity transform that puts ink into a square image: pixel = ink * scale + offset."""

    scale: float
    offset_x: float
    offset_y: float

    def apply(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) ink coordinates -> (n, 2) pixels."""
        return np.asarray(points, dtype=np.float64) * self.scale + (self.offset_x, self.offset_y)


def fit_frame(strokes: Sequence[np.ndarray], size: int, margin: float) -> Frame:
    """The frame that centres all ink in a ``size`` x ``size`` image, aspect kept, ``margin`` pixels free all round.

    Ink without any extent (one dot) is put in the middle at scale 1. ValueError if there is no point at all.
    """
    if not sum(len(stroke) for stroke in strokes):
        raise ValueError("there is no ink to draw")
    points = np.concatenate([np.asarray(stroke, dtype=np.float64) for stroke in strokes if len(stroke)])
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    scale = (size - 2 * margin) / extent if extent > 0 else 1.0
    offset_x, offset_y = size / 2 - (low + high) / 2 * scale
    return Frame(scale, float(offset_x), float(offset_y))


def draw_strokes(strokes: Sequence[np.ndarray], size: int, stroke_width: float) -> np.ndarray:
    """Strokes in pixel coordinates -> (size, size) uint8, black ink (0) on white (255), round joints and ends.

    strokes       sequence of (n, 2) arrays, x to the right, y down; one point makes a dot
    stroke_width  in pixels of the output
    """
    canvas = Image.new("L", (size * _OVERSAMPLING, size * _OVERSAMPLING), 255)
    pen = ImageDraw.Draw(canvas)
    width = max(1, round(stroke_width * _OVERSAMPLING))
    radius = width / 2
    for stroke in strokes:
        points = [(float(x), float(y)) for x, y in np.asarray(stroke) * _OVERSAMPLING]
        if len(points) > 1:
            pen.line(points, fill=0, width=width)
        # Pillow's own joints leave notches at sharp turns: a disc on every point closes them and rounds the ends.
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=0)
    return np.asarray(canvas.reduce(_OVERSAMPLING))


def limit_symbols(frame: Frame, symbols: Sequence[np.ndarray], size: int, symbol_side: float) -> Frame:
    """The frame, smaller about the image's centre if the median symbol's longer side exceeds ``symbol_side`` pixels.

    Without this a formula of one symbol would be as high as the image, drawn with a hair-thin pen.
    """
    sides = [float((points.max(axis=0) - points.min(axis=0)).max()) for points in symbols]
    median = float(np.median(sides)) * frame.scale
    if median <= symbol_side:
        return frame
    shrink = symbol_side / median
    middle = size / 2
    return Frame(
        frame.scale * shrink,
        middle + (frame.offset_x - middle) * shrink,
        middle + (frame.offset_y - middle) * shrink,
    )


def render(
    strokes: Sequence[np.ndarray],
    symbol_strokes: Sequence[Sequence[int]],
    size: int = 256,
    stroke_width: float = 2.5,
    margin: float = 6.0,
    symbol_side: float = 80.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws an expression and measures its symbols.

    strokes         (n, 2) arrays in ink units, y down
    symbol_strokes  for each symbol the indices of its strokes
    symbol_side     the median symbol's longer side is at most this many pixels; short formulas do not fill the image
    Returns the image (size, size) uint8, ink 0 on paper 255, and boxes (V, 4) float32: x0, y0, x1, y1 in [0, 1] of
    the image, around the ink (half a stroke width included). Strokes in no symbol are not drawn: nothing in the
    graph accounts for them. ValueError if a symbol has no ink.
    """
    for row, indices in enumerate(symbol_strokes):
        if not any(len(strokes[i]) for i in indices):
            raise ValueError(f"symbol {row} has no ink")
    used = sorted({i for indices in symbol_strokes for i in indices})
    frame = fit_frame([strokes[i] for i in used], size, margin)
    inks = [np.concatenate([strokes[i] for i in indices if len(strokes[i])]) for indices in symbol_strokes]
    frame = limit_symbols(frame, inks, size, symbol_side)
    placed = {i: frame.apply(strokes[i]) for i in used}
    image = draw_strokes([placed[i] for i in used], size, stroke_width)
    boxes = np.zeros((len(symbol_strokes), 4), dtype=np.float64)
    for row, indices in enumerate(symbol_strokes):
        points = np.concatenate([placed[i] for i in indices if len(placed[i])])
        boxes[row, :2] = points.min(axis=0) - stroke_width / 2
        boxes[row, 2:] = points.max(axis=0) + stroke_width / 2
    return image, (boxes / size).clip(0, 1).astype(np.float32)
