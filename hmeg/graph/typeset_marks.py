"""Marks over and under what they stand at, and frames around it: boxes grown to their content."""

from __future__ import annotations

from collections.abc import Sequence

from .latex_macros import UNDER_MARKS
from .vocabulary import Vocabulary

Extent = tuple[float, float, float, float]  # x0, y0, x1, y1, y down

MARKS = frozenset(symbol.name for symbol in Vocabulary.open() if symbol.kind == "accent")
FRAMES = frozenset((r"\bigcirc", r"\square"))
# Drawn longer under (or over) long text.
STRETCHED = frozenset(symbol.name for symbol in Vocabulary.open() if symbol.kind == "arrow") | {"="}
# Marks of one size, whatever stands under them.
_FIXED = frozenset((r"\dot", r"\ddot", r"\dddot", r"\acute", r"\grave", r"\mathring", r"\check", r"\breve"))
_LONGEST_HAT = 2.5  # times its own width

# In heights of an x.
_GAP = 0.18
_MARGIN = 0.3
_AXIS = 0.55


def marked(label: str, size: tuple[float, float], content: Extent, scale: float) -> tuple[Extent, tuple[float, float]]:
    """Box of a mark, and the origin of the row that it stands at, from the mark's origin.

    size     width and height of the mark by itself
    content  extent of the row
    """
    width, height = size
    x0, y0, x1, y1 = content
    if label in (r"\hat", r"\tilde"):
        width = min(max(width, 0.8 * (x1 - x0)), _LONGEST_HAT * width)
    elif label not in _FIXED:
        width = max(width, x1 - x0)
    left = max(0.0, (width - (x1 - x0)) / 2)  # of the content, from the leftmost ink of both
    middle = left + (x1 - x0) / 2
    if label in UNDER_MARKS:
        top = y1 + _GAP * scale
        return (middle - width / 2, top, middle + width / 2, top + height), (left - x0, 0.0)
    bottom = y0 - _GAP * scale
    return (middle - width / 2, bottom - height, middle + width / 2, bottom), (left - x0, 0.0)


def framed(label: str, content: Extent, scale: float) -> tuple[Extent, tuple[float, float]]:
    """Box of a circle or a square around a row, and the row's origin."""
    x0, y0, x1, y1 = content
    width, height, margin = x1 - x0, y1 - y0, _MARGIN * scale
    if label == r"\bigcirc":
        # An ellipse around a box; about a circle when the box is about a square.
        width, height = 1.2 * width + 2 * margin, 1.2 * height + 2 * margin
        if max(width, height) < 1.6 * min(width, height):
            width = height = max(width, height)
    else:
        width, height = width + 2 * margin, height + 2 * margin
    middle = -_AXIS * scale
    down = middle - (y0 + y1) / 2 if label == r"\bigcirc" else 0.0
    centre = (y0 + y1) / 2 + down
    return (0.0, centre - height / 2, width, centre + height / 2), (width / 2 - (x0 + x1) / 2, down)


def union(extents: Sequence[Extent]) -> Extent:
    """The smallest extent that holds all of ``extents``."""
    return (
        min(e[0] for e in extents),
        min(e[1] for e in extents),
        max(e[2] for e in extents),
        max(e[3] for e in extents),
    )
