"""The shape of images, and where the boxes of a layout lie on them. Needs no torch.

Three frames, and one transform between them (:class:`Viewport`):

    square  boxes as layouts have them: x0, y0, x1, y1 in [0, 1] of the square image that networks were trained on
    units   boxes on the canvas as networks read them: the same unit, the side of the training square, from the upper
            left corner of the canvas. A canvas of 512 x 128 pixels of a network trained on 256 is 2 x 1/2 units large
    pixels  of the image, from its upper left corner

The height of symbols is told by the x-height: how high a median letter x of the main row is. It is measured on all
symbols of a layout, see :func:`x_height`.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass

import numpy as np

from hmeg.graph import SymbolGraph
from hmeg.graph.typeset import ink_in_x_heights, typeset

SQUARE, FIT, FIXED = "square", "fit", "fixed"
HALF_PEN = 1.25 / 256  # of the training square: boxes are so much larger than the ink's middle line, on each side
MIN_SIDE, MAX_SIDE = 16, 8192  # of an image, pixels
SYMBOL_HEIGHT = 28.0  # x-height in pixels; CROHME's training images: 26 in the median expression
MIN_SYMBOL_HEIGHT, MAX_SYMBOL_HEIGHT = 24.0, 64.0
SMALLEST = 10.0  # x-height below which a symbol is not drawn on a canvas that fits
MARGIN = 8
PRESETS = {"can": (1600, 320), "comer": (1024, 256)}  # width and height; what their loaders take as they are
LARGEST = (4096, 512)  # of a canvas that fits, where nobody says another

_SHAPE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_WORDS = re.compile(r"(fit|fixed) ([0-9]+)x([0-9]+), x-height ([0-9.]+), at least ([0-9.]+), margin ([0-9]+)")


class TooSmallError(ValueError):
    """An expression cannot be drawn on a canvas with symbols of the least height; the message says what would do."""


@dataclass(frozen=True)
class Viewport:
    """How one layout lies on its canvas.

    width, height  of the image in pixels
    shape          rows and columns the networks compute, at least the image's; what lies beyond it is cut off
    scale          pixels of the image to one of the training square
    shift          x, y in pixels of the image, of the square's origin after scaling
    unit           side of the training square in pixels
    x_height       of the main row, in pixels of the image
    resized        whether the image is made by scaling down what the networks compute (a square of any side)
    bars           rows of the boxes that are bars, straight strokes
    """

    width: int
    height: int
    shape: tuple[int, int]
    scale: float
    shift: tuple[float, float]
    unit: int
    x_height: float
    resized: bool = False
    bars: tuple[int, ...] = ()

    def in_units(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes of the square (V, 4) -> (V, 4) float32 in units of the canvas.

        A pen is as wide on every canvas: boxes lose half of it on each side, are scaled, and get it again.
        """
        if self.resized:
            return boxes
        return (self._in_pixels(boxes) / self.unit).astype(np.float32)

    def in_pixels(self, units: np.ndarray) -> np.ndarray:
        """Boxes in units (V, 4), upright -> float64 pixels, clipped to the image, two decimals."""
        sides = np.array([self.width, self.height] * 2, dtype=np.float64)
        scale = sides if self.resized else self.unit
        return np.round(np.clip(units.astype(np.float64) * scale, 0, sides), 2)

    def in_fractions(self, units: np.ndarray) -> np.ndarray:
        """Boxes in units (V, 4) -> float32 parts of the image's width and height, as labels' graphs have them."""
        if self.resized:
            return units
        return (units * np.array([self.unit / self.width, self.unit / self.height] * 2)).astype(np.float32)

    def _in_pixels(self, boxes: np.ndarray) -> np.ndarray:
        pen = HALF_PEN * self.unit
        ink = without_pen(np.asarray(boxes, dtype=np.float64)) * (self.unit * self.scale)
        ink[list(self.bars)] = _straightened(ink[list(self.bars)], self.unit)
        return ink + np.array([*self.shift] * 2) + np.array([-pen, -pen, pen, pen])


@dataclass(frozen=True)
class Canvas:
    """What images are drawn on: make one by :meth:`square`, :meth:`fit` or :meth:`fixed`.

    kind           "square", "fit" or "fixed"
    width, height  of the image in pixels; of a canvas that fits, at most
    symbol_height  x-height in pixels that a canvas that fits, or is of a fixed shape, aims at; it draws smaller where
                   the expression would not fit otherwise
    smallest       x-height in pixels below which an expression is refused there; 0: never
    margin         pixels of paper around the ink, at least, there

    ``ValueError`` for what makes no sense.
    """

    kind: str = SQUARE
    width: int = 256
    height: int = 256
    symbol_height: float = SYMBOL_HEIGHT
    smallest: float = SMALLEST
    margin: int = MARGIN

    def __post_init__(self) -> None:
        if self.kind not in (SQUARE, FIT, FIXED):
            raise ValueError(f"a canvas is {SQUARE}, {FIT} or {FIXED}, not {self.kind!r}")
        for name in ("width", "height", "margin"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        for name in ("symbol_height", "smallest"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.kind == SQUARE:
            if self.width != self.height:
                raise ValueError(f"a square canvas has equal sides, not {self.width} and {self.height}")
            return
        for name, side in (("width", self.width), ("height", self.height)):
            if not MIN_SIDE <= side <= MAX_SIDE:
                raise ValueError(f"{name} of a canvas must be in {MIN_SIDE}..{MAX_SIDE} pixels, got {side}")
        if not MIN_SYMBOL_HEIGHT <= self.symbol_height <= MAX_SYMBOL_HEIGHT:
            allowed = f"{MIN_SYMBOL_HEIGHT:g}..{MAX_SYMBOL_HEIGHT:g}"
            raise ValueError(f"symbol height must be in {allowed} pixels, got {self.symbol_height:g}")
        if not 0 <= self.smallest <= self.symbol_height:
            raise ValueError(
                f"the least symbol height must be in 0..{self.symbol_height:g} pixels, got {self.smallest:g}"
            )
        if not 0 <= 2 * self.margin <= min(self.width, self.height) - MIN_SIDE // 2:
            raise ValueError(f"a margin of {self.margin} pixels leaves nothing of {self.width}x{self.height}")

    @classmethod
    def square(cls, size: int = 256) -> Canvas:
        """A square of ``size`` pixels, the layout drawn where it lies in the square that networks are trained on."""
        size = _whole("size", size)
        return cls(SQUARE, size, size)

    @classmethod
    def fit(
        cls,
        symbol_height: float = SYMBOL_HEIGHT,
        max_size: tuple[int, int] | str = LARGEST,
        smallest: float = SMALLEST,
        margin: int = MARGIN,
    ) -> Canvas:
        """As large as the expression needs at that x-height, in multiples of what the decoder halves (16 pixels).

        max_size  width and height in pixels, ``"1024x256"``, or ``"can"`` or ``"comer"``: what these recognisers take
        """
        return cls(FIT, *parsed_size(max_size), symbol_height, smallest, margin)

    @classmethod
    def fixed(
        cls,
        width: int,
        height: int,
        symbol_height: float = SYMBOL_HEIGHT,
        smallest: float = SMALLEST,
        margin: int = MARGIN,
    ) -> Canvas:
        """Of one shape whatever is drawn, the expression in its middle."""
        return cls(FIXED, width, height, symbol_height, smallest, margin)

    @classmethod
    def parse(cls, words: str) -> Canvas:
        """Inverse of :meth:`__str__`; ``ValueError`` for anything else."""
        kind, _, rest = words.partition(":")
        if kind == SQUARE and rest.isdecimal():
            return cls.square(int(rest))
        match = _WORDS.fullmatch(words)
        if match is None:
            raise ValueError(f"no canvas {words!r}")
        shape, width, height, symbol_height, smallest, margin = match.groups()
        return cls(shape, int(width), int(height), float(symbol_height), float(smallest), int(margin))

    def __str__(self) -> str:
        if self.kind == SQUARE:
            return f"{SQUARE}:{self.width}"
        heights = f"x-height {self.symbol_height:g}, at least {self.smallest:g}"
        return f"{self.kind} {self.width}x{self.height}, {heights}, margin {self.margin}"

    @property
    def is_square(self) -> bool:
        """Whether it is the square of training, of whatever side."""
        return self.kind == SQUARE

    @property
    def drawn_like(self) -> int:
        """Side in pixels of the square image whose strokes are as wide as those of images on this canvas."""
        return self.width if self.is_square else 256

    def check(self, largest: int) -> None:
        """``ValueError`` for a square that a model cannot draw, whose largest images have ``largest`` pixels a side."""
        if self.is_square and not MIN_SIDE <= self.width <= largest:
            raise ValueError(
                f"size must be in {MIN_SIDE}..{largest} pixels (the model draws no finer), got {self.width}"
            )

    def viewport(self, graph: SymbolGraph, boxes: np.ndarray, unit: int = 256, step: int = 16) -> Viewport:
        """How a layout lies on this canvas.

        boxes  (V, 4) upright, in the square
        unit   side of the training square in pixels
        step   what sides are multiples of, for networks
        """
        measured = x_height(graph, boxes) * unit
        if self.is_square:
            scale = self.width / unit
            return Viewport(
                self.width, self.width, (unit, unit), scale, (0.0, 0.0), unit, measured * scale, resized=True
            )
        ink = without_pen(np.asarray(boxes, dtype=np.float64)) * unit
        low, high = ink[:, :2].min(axis=0), ink[:, 2:].max(axis=0)
        pen = HALF_PEN * unit
        scale = self._scale(measured, high - low, pen, step)
        needed = (high - low) * scale + 2 * (pen + self.margin)
        if self.kind == FIT:
            width, height = (max(step, math.ceil(round(side, 6) / step) * step) for side in needed)
        else:
            width, height = self.width, self.height
        shift = np.array([width, height]) / 2 - (low + high) / 2 * scale
        shape = (math.ceil(height / step) * step, math.ceil(width / step) * step)
        bars = tuple(row for row, label in enumerate(graph.symbols) if label == "-")
        return Viewport(
            width, height, shape, scale, (float(shift[0]), float(shift[1])), unit, measured * scale, bars=bars
        )

    def _scale(self, x_height: float, extent: np.ndarray, pen: float, step: int) -> float:
        """Pixels of the image to one of the square: for the x-height aimed at, or less where it would not fit."""
        sides = np.array([self.width, self.height])
        if self.kind == FIT:  # only whole steps are used of what is allowed
            sides = sides // step * step
        room = np.maximum(sides - 2 * (pen + self.margin), 1e-3)
        return float(min(self.symbol_height / x_height, *(room / np.maximum(extent, 1e-9))))

    def x_height_of(self, graph: SymbolGraph, unit: int = 256, step: int = 16) -> float:
        """The x-height in pixels that an expression will have, as far as the typesetter can tell."""
        if self.is_square:
            return square_x_height(graph) * self.width
        ink = ink_in_x_heights(graph)
        extent = ink[:, 2:].max(axis=0) - ink[:, :2].min(axis=0)
        return self._scale(1.0, extent, HALF_PEN * unit, step)

    def check_expression(self, graph: SymbolGraph, unit: int = 256, step: int = 16) -> None:
        """:class:`TooSmallError` for an expression whose symbols would be smaller than the least height.

        Squares take everything, as they always did.
        """
        if self.is_square or not self.smallest:
            return
        reached = self.x_height_of(graph, unit, step)
        if reached >= self.smallest:
            return
        ink = ink_in_x_heights(graph)
        extent = ink[:, 2:].max(axis=0) - ink[:, :2].min(axis=0)
        needed = extent * self.smallest + 2 * (HALF_PEN * unit + self.margin)
        width, height = (
            max(given, math.ceil(side / step) * step)
            for given, side in zip((self.width, self.height), needed.tolist(), strict=True)
        )
        what = "at most " if self.kind == FIT else ""
        raise TooSmallError(
            f"on a canvas of {what}{self.width}x{self.height} its letters would be {reached:.1f} pixels high, fewer "
            f"than {self.smallest:g}; {width}x{height} would do"
        )


def _straightened(ink: np.ndarray, unit: int) -> np.ndarray:
    """Bars longer than the training square lean no more than as long as that; they keep their middle.

    A box as high as a longer bar leans would be for networks a box of something else than a line.
    """
    low, high = ink[:, 1], ink[:, 3]
    middle, half = (low + high) / 2, (high - low) / 2 / np.maximum(1, (ink[:, 2] - ink[:, 0]) / unit)
    return np.stack([ink[:, 0], middle - half, ink[:, 2], middle + half], axis=1)


def without_pen(boxes: np.ndarray) -> np.ndarray:
    """Boxes of the square (V, 4), upright -> (V, 4): around the middle line of a pen of training's width.

    A side shorter than the pen is wide becomes none, in the same middle.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    off = np.minimum(HALF_PEN, (high - low) / 2)
    return np.concatenate([low + off, high - off], axis=1)


def x_height(graph: SymbolGraph, boxes: np.ndarray) -> float:
    """The x-height of a layout (V, 4), upright, in units of the boxes.

    Every symbol tells one: its longer side to that which the typesetter gives it where an x is 1 high. Their median is
    what counts, so a single letter, a long bar or a hand's habits decide nothing.
    """
    ink, type_ink = without_pen(np.asarray(boxes, dtype=np.float64)), ink_in_x_heights(graph)
    sides, type_sides = ((b[:, 2:] - b[:, :2]).max(axis=1) for b in (ink, type_ink))
    return max(float(np.median(sides / np.maximum(type_sides, 1e-9))), 1e-6)


def square_x_height(graph: SymbolGraph) -> float:
    """The x-height of the typesetter's own layout in the square of side 1 (:func:`hmeg.graph.typeset.typeset`)."""
    return x_height(graph, typeset(graph))


def parsed_size(size: tuple[int, int] | str) -> tuple[int, int]:
    """Width and height of ``"1024x256"``, of ``"can"`` or ``"comer"``, or of two numbers; ``ValueError`` for others."""
    if not isinstance(size, str):
        width, height = size
        return _whole("width", width), _whole("height", height)
    if size in PRESETS:
        return PRESETS[size]
    match = _SHAPE.fullmatch(size)
    if match is None:
        raise ValueError(f"a size is WIDTHxHEIGHT in pixels or one of {', '.join(PRESETS)}, not {size!r}")
    return int(match[1]), int(match[2])


def _whole(name: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
