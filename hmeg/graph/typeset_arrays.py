"""Arrays: cells in rows under each other, in aligned columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .typeset_marks import Extent
from .typeset_rows import CLOSING, OPENING, Row
from .vocabulary import Vocabulary

# In heights of an x.
_COLUMN_GAP = 1.2
_GAP_AT_A_RELATION = 0.6
_ROW_GAP = 0.7
_NARROWEST = 0.3
_HIGH, _LOW = 1.0, 0.0  # of a row with nothing in it


@dataclass
class Array:
    """Cells of an array, row by row.

    contents    for every cell that holds something the number of the row in it
    next_rows   for the first cell of every row but the last the number of the row under it
    stands_free  whether nothing closes the bracket before it: cases
    """

    rows: list[list[int]]
    contents: dict[int, int]
    next_rows: dict[int, int]
    stands_free: bool = False
    left_edges: list[float] = field(default_factory=list)


@dataclass
class Columns:
    """Widths and left edges of columns; of every row its highest and lowest ink and its base line, from the top."""

    widths: list[float]
    left_edges: list[float]
    aligned: list[str]
    lines: list[tuple[float, float, float]]
    width: float
    height: float

    def indent(self, column: int, extent: Extent) -> float:
        """Where the origin of a row of this extent stands in its column."""
        room = self.widths[column] - (extent[2] - extent[0])
        share = {"left": 0.0, "right": 1.0}.get(self.aligned[column], 0.5)
        return room * share - extent[0]


def array_at(
    symbols: Sequence[int], position: int, labels: Sequence[str], hung: Sequence[dict[str, int] | None], rows: list[Row]
) -> Array | None:
    """The array whose first cell is ``symbols[position]``, or None for a cell that belongs to one before it."""
    first = symbols[position]
    below = (hung[first] or {}).get("Below")
    if position and labels[symbols[position - 1]] == "&" and below is None:
        return None
    end = position + 1
    while end < len(symbols) and labels[symbols[end]] == "&" and "Below" not in (hung[symbols[end]] or {}):
        end += 1
    cells = [list(symbols[position:end])]
    next_rows: dict[int, int] = {}
    while below is not None and all(labels[cell] == "&" for cell in rows[below].symbols):
        next_rows[cells[-1][0]] = below
        cells.append(list(rows[below].symbols))
        below = (hung[cells[-1][0]] or {}).get("Below")
    contents = {
        cell: inside for row in cells for cell in row if (inside := (hung[cell] or {}).get("Inside")) is not None
    }
    before = position > 0 and labels[symbols[position - 1]] in OPENING
    after = end < len(symbols) and labels[symbols[end]] in CLOSING
    return Array(cells, contents, next_rows, before and not after)


def columns_of(
    array: Array, extents: Sequence[Extent], labels: Sequence[str], rows: Sequence[Row], scale: float
) -> Columns:
    """Measures of an array whose contents are measured."""
    count = max(len(row) for row in array.rows)
    widths = [_NARROWEST * scale] * count
    for row in array.rows:
        for column, cell in enumerate(row):
            if (content := array.contents.get(cell)) is not None:
                widths[column] = max(widths[column], extents[content][2] - extents[content][0])
    aligned = _alignment(array, labels, rows, count)
    edges = [0.0]
    for column in range(1, count):
        gap = _GAP_AT_A_RELATION if aligned[column - 1] == "right" else _COLUMN_GAP
        edges.append(edges[-1] + widths[column - 1] + gap * scale)
    lines: list[tuple[float, float, float]] = []
    height = 0.0
    for number, row in enumerate(array.rows):
        inks = [extents[array.contents[cell]] for cell in row if cell in array.contents]
        top = min((ink[1] for ink in inks), default=-_HIGH * scale)
        bottom = max((ink[3] for ink in inks), default=-_LOW * scale)
        height += _ROW_GAP * scale if number else 0.0
        lines.append((top, bottom, height - top))
        height += bottom - top
    return Columns(widths, edges, aligned, lines, edges[-1] + widths[-1], height)


def _alignment(array: Array, labels: Sequence[str], rows: Sequence[Row], count: int) -> list[str]:
    """Columns of equations meet at their relations; what follows a brace alone stands left; others in the middle."""
    aligned = ["left" if array.stands_free else "centre"] * count
    for column in range(count):
        firsts = [
            labels[rows[array.contents[row[column]]].symbols[0]]
            for row in array.rows
            if column < len(row) and row[column] in array.contents
        ]
        kinds = {Vocabulary.open().kind_of(first) for first in firsts}
        if kinds and kinds <= {"relation", "arrow"}:
            aligned[column] = "left"
            if column:
                aligned[column - 1] = "right"
    return aligned
