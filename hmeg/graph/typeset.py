"""A plain typesetter: boxes for the symbols of any graph, in the proportions of handwriting.

A row (symbols on one baseline) is laid out from left to right; what hangs on a symbol is a row of its own, smaller,
placed by the relation. Sizes, shifts and gaps are medians of CROHME (see ``typeset_statistics``); the result is the
same every time, and nobody's hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from .latex_macros import BRACES, UNDER_MARKS
from .symbol_graph import SymbolGraph
from .typeset_arrays import Array, array_at, columns_of
from .typeset_marks import FRAMES, MARKS, STRETCHED, Extent, framed, marked, union
from .typeset_rows import CLOSING, OPENING, bracket_pairs, rows_of
from .vocabulary import Vocabulary

STATISTICS_FILE = "typeset_statistics.json"
# The frame of prepared training images (hmeg.data.render): the longest side of the ink leaves 6 of 256 pixels free on
# each side, unless the median symbol's longer side would exceed 80; boxes are half a stroke of 2.5 pixels larger than
# the ink.
_INK = (256 - 2 * 6) / 256
_SYMBOL_SIDE = 80 / 256
_HALF_STROKE = 1.25 / 256
_SMALLEST, _LARGEST = 0.25, 2.0  # scales of rows relative to the main one, however deep they are
_BRACKETS = OPENING | CLOSING | {"|"}

_NOWHERE: Extent = (0.0, 0.0, 0.0, 0.0)


_AS_IT_STANDS = (1.0, 0.0, 0.0)
_IN_A_CIRCLE = (0.8, 0.0, 0.0)
# Whose gaps a symbol has that CROHME has not, by its kind.
_GAPS_OF_KIND = {
    "relation": "=",
    "arrow": "=",
    "operator": "+",
    "punctuation": ",",
    "opening": "(",
    "closing": ")",
    "large": "\\sum",
    "integral": "\\int",
}


class _Shapes(dict[str, tuple[float, float, float]]):
    """Width, lowest and highest point of symbols: measured, or of a similar one, or as their table says."""

    known: Vocabulary

    def __missing__(self, label: str) -> tuple[float, float, float]:
        known = self.known
        shape = (1.0, 0.0, 1.0)  # of a symbol that nobody described
        if label in known:
            like, box = known[label].like, known[label].box
            shape = self[like] if like is not None else box or shape
        self[label] = shape
        return shape


def gap_kinds(label: str, around: dict[str, int] | None) -> tuple[str, str]:
    """What a symbol counts as for the gap to its right and to its left: its label, ``bar`` of a fraction, ``^``."""
    if around is None:
        return label, label
    if label == "-" and ("Above" in around or "Below" in around):
        return "bar", "bar"
    if "Sup" in around or "Sub" in around:
        return "^", label
    return label, label


@dataclass(frozen=True)
class _Statistics:
    """The numbers of ``typeset_statistics``, ready to be looked up."""

    shapes: dict[str, tuple[float, float, float]]
    common_gap: float
    gap_after: dict[str, float]
    gap_before: dict[str, float]
    rows: dict[str, tuple[float, float, float]]
    bar: tuple[float, float, float]
    root: dict[bool, tuple[float, float, float, float, float]]  # by whether it has an index
    brackets: tuple[float, float, float]
    found_rows: dict[tuple[str, str], tuple[float, float, float]]

    def row(self, relation: str, label: str) -> tuple[float, float, float]:
        """Scale, and two numbers of the place, of a row that hangs on ``label``."""
        found = self.found_rows.get((relation, label))
        if found is None:
            found = self.rows.get(f"{relation} {label}") or self._row_of_kind(relation, label)
            self.found_rows[relation, label] = found
        return found

    def _row_of_kind(self, relation: str, label: str) -> tuple[float, float, float]:
        kind = Vocabulary.open().kind_of(label)
        if kind in ("accent", "cell") and relation in ("Above", "Below", "Inside"):
            script = label in BRACES and BRACES[label] == relation
            return self.rows[f"{relation} \\sum"] if script else _AS_IT_STANDS
        if relation == "Inside":
            return _IN_A_CIRCLE if label == "\\bigcirc" else _AS_IT_STANDS
        if relation in ("Above", "Below") and (label in STRETCHED or label not in Vocabulary.crohme()):
            return self.rows[f"{relation} \\sum"]
        return self.rows[relation]


def _from_json(data: dict[str, Any], known: Vocabulary) -> _Statistics:
    after, before = dict(data["gaps"]["after"]), dict(data["gaps"]["before"])
    shapes = _Shapes({key: tuple(numbers) for key, numbers in data["symbols"].items()})
    shapes.known = known
    for symbol in known:
        if symbol.name not in data["symbols"]:
            donor = symbol.like if symbol.like in data["symbols"] else _GAPS_OF_KIND.get(symbol.kind, "")
            for gaps in (after, before):
                if donor in gaps:
                    gaps[symbol.name] = gaps[donor]
    rows = {key: tuple(numbers) for key, numbers in data["rows"].items()}
    return _Statistics(
        shapes=shapes,
        common_gap=data["gaps"]["common"],
        gap_after=after,
        gap_before=before,
        rows=rows,
        bar=tuple(data["bar"]),
        root={False: tuple(data["root"]), True: tuple(data["root with index"])},
        brackets=tuple(data["brackets"]["tall"]),
        found_rows={},
    )


def _moved(extent: Extent, by: tuple[float, float]) -> Extent:
    return extent[0] + by[0], extent[1] + by[1], extent[2] + by[0], extent[3] + by[1]


@lru_cache(maxsize=4)
def _statistics(known: Vocabulary | None) -> _Statistics:
    data = json.loads((files(__package__) / STATISTICS_FILE).read_text(encoding="utf-8"))
    return _from_json(data, known or Vocabulary.open())


def typeset(graph: SymbolGraph, known: Vocabulary | None = None) -> np.ndarray:
    """Boxes a plain typesetter gives the symbols of ``graph``: (V, 4) float32, x0, y0, x1, y1 in [0, 1], y down.

    known  the vocabulary that has the symbols' proportions; None: :meth:`Vocabulary.open`

    The layout is centred in the square, as large as the margin and the symbols' size in training images allow, and
    boxes include half a stroke's width, as there. Takes any graph: a symbol that hangs on two others follows the first
    of the relations; several roots and circles follow each other on the main row. Deterministic, no recursion; time
    grows linearly with the symbols (with the square of nested brackets). An empty graph gives (0, 4).
    """
    if not len(graph):
        return np.zeros((0, 4), dtype=np.float32)
    boxes = np.array(_layout(graph, _statistics(known)), dtype=np.float64)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    median_side = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1)))
    scale = min(_INK / max(float((high - low).max()), 1e-9), _SYMBOL_SIDE / max(median_side, 1e-9))
    boxes *= scale
    middle = (low + high) * (scale / 2)
    boxes[:, :2] += 0.5 - _HALF_STROKE - middle
    boxes[:, 2:] += 0.5 + _HALF_STROKE - middle
    return boxes.astype(np.float32)


def ink_in_x_heights(graph: SymbolGraph, known: Vocabulary | None = None) -> np.ndarray:
    """Ink of the symbols as the typesetter lays them out, (V, 4) float64: x0, y0, x1, y1, y down, no pen's width added.

    The unit is the x-height: the height of a median letter x on the main row. The origin is the main row's. An empty
    graph gives (0, 4).

    known  as for :func:`typeset`
    """
    return np.array(_layout(graph, _statistics(known)) if len(graph) else [], dtype=np.float64).reshape(-1, 4)


def _layout(graph: SymbolGraph, numbers: _Statistics) -> list[Extent]:
    """Ink boxes in units of the main row's scale, y down."""
    layout = _Layout(graph, numbers)
    # What hangs on a symbol is measured before the symbol: rows come parents first.
    for number in range(len(layout.rows) - 1, -1, -1):
        layout.measure(number)
    return layout.placed()


class _Layout:
    """The measures of one expression. Extents are x0, y0, x1, y1, y down."""

    def __init__(self, graph: SymbolGraph, numbers: _Statistics) -> None:
        self.numbers, self.labels = numbers, graph.symbols
        self.rows, self.hung = rows_of(graph)
        self.scales = [1.0] * len(self.rows)
        self.places = [(1.0, 0.0, 0.0)] * len(self.rows)  # what the statistics say about a row
        for number in range(1, len(self.rows)):
            row = self.rows[number]
            place = self.places[number] = numbers.row(row.relation, self.labels[row.parent])
            self.scales[number] = min(max(self.scales[row.parent_row] * place[0], _SMALLEST), _LARGEST)
        self.own: list[Extent] = [_NOWHERE] * len(graph)  # ink, from the symbol's origin
        self.clusters: list[Extent] = [_NOWHERE] * len(graph)  # ink of the symbol and all that hangs on it, likewise
        self.extents: list[Extent] = [_NOWHERE] * len(self.rows)  # ink of the row, from the row's origin
        self.origins = [(0.0, 0.0)] * len(self.rows)  # of a row, from its parent's origin
        self.x_in_row = [0.0] * len(graph)  # of a symbol's origin, from its row's origin

    def measure(self, number: int) -> None:
        """Lays out one row, the rows that hang on its symbols being laid out."""
        labels, hung, clusters, own = self.labels, self.hung, self.clusters, self.own
        row = self.rows[number]
        if row.relation == "Below" and labels[row.parent] == "&" and all(labels[s] == "&" for s in row.symbols):
            return  # a further row of an array: placed with the first
        symbols, scale = self.rows[number].symbols, self.scales[number]
        shapes = self.numbers.shapes
        brackets = False
        arrays: dict[int, Array] = {}
        for position, symbol in enumerate(symbols):
            label = labels[symbol]
            if label == "&":
                if (array := array_at(symbols, position, labels, hung, self.rows)) is not None:
                    arrays[symbol] = array
                    self._measure_array(array, scale)
                continue
            width, low, high = shapes[label]
            box = (0.0, -high * scale, width * scale, -low * scale)
            if hung[symbol] is None:
                own[symbol] = clusters[symbol] = box
            else:
                self._measure_cluster(symbol, box, scale)
            if label in _BRACKETS:
                brackets = True
        if brackets and (len(symbols) > 2 or arrays):
            self._grow_brackets(symbols, scale, {cell for array in arrays.values() for cell in array.rows[0]})

        after, before, common = self.numbers.gap_after, self.numbers.gap_before, self.numbers.common_gap
        x_in_row = self.x_in_row
        pen = gap = 0.0
        top, bottom = 1e9, -1e9
        for symbol in symbols:
            label = labels[symbol]
            if label == "&" and symbol not in arrays:
                continue  # a further column, placed with the first
            x0, y0, x1, y1 = clusters[symbol]
            right = left = label
            if hung[symbol] is not None:
                right, left = gap_kinds(label, hung[symbol])
            if symbol != symbols[0]:
                pen += (common + gap + before.get(left, 0.0)) * scale
            x_in_row[symbol] = pen - x0
            if label == "&":
                for cell, left_edge in zip(arrays[symbol].rows[0], arrays[symbol].left_edges, strict=False):
                    x_in_row[cell] = pen + left_edge
            pen += x1 - x0
            gap = after.get(right, 0.0)
            if y0 < top:
                top = y0
            if y1 > bottom:
                bottom = y1
        self.extents[number] = (0.0, top, pen, bottom)

    def _measure_cluster(self, symbol: int, box: Extent, scale: float) -> None:
        """Places the rows around a symbol whose box would be ``box`` by itself; grows bars and roots."""
        around = self.hung[symbol]
        assert around is not None
        extents, origins = self.extents, self.origins
        label = self.labels[symbol]
        content = ""  # the relation of what a mark stands at
        if "Inside" in around:
            inside = around["Inside"]
            if label == "\\sqrt":
                box = self._measure_root("Above" in around, inside, scale)
            elif label in FRAMES:
                box, origins[inside] = framed(label, extents[inside], scale)
            else:  # no arrangement that anybody writes
                origins[inside] = (0.0, 0.0)
        elif label == "-" and ("Above" in around or "Below" in around):
            axis, thickness, overhang = self.numbers.bar
            widest = max(extents[n][2] - extents[n][0] for n in around.values())
            width = max(widest + 2 * overhang * scale, box[2])
            half = thickness * width / 2
            box = (0.0, -axis * scale - half, width, -axis * scale + half)
        elif label in MARKS and (content := "Above" if label in UNDER_MARKS else "Below") in around:
            shape = (box[2] - box[0], box[3] - box[1])
            box, origins[around[content]] = marked(label, shape, extents[around[content]], scale)
        elif label in STRETCHED and ("Above" in around or "Below" in around):
            widest = max(extents[n][2] - extents[n][0] for name, n in around.items() if name in ("Above", "Below"))
            box = (0.0, box[1], max(box[2], widest + 0.4 * scale), box[3])
        left, top, right, bottom = nucleus = box
        if label in MARKS:
            nucleus = union([box, *(_moved(extents[n], origins[n]) for name, n in around.items() if name == content)])
        for name, number in around.items():
            x0, y0, x1, y1 = extents[number]
            _, along, away = self.places[number]
            if name == "Sup":
                x, y = nucleus[2] + along * scale - x0, nucleus[1] - away * scale
                # A tall script (a fraction) does not hang down beside its base.
                y = min(y, (nucleus[1] + nucleus[3]) / 2 - y1)
            elif name == "Sub":
                x, y = nucleus[2] + along * scale - x0, nucleus[3] - away * scale
                y = max(y, (nucleus[1] + nucleus[3]) / 2 - y0)
            elif name in ("Inside", content):
                x, y = origins[number]
            elif name == "Above" and label == "\\sqrt":
                x, y = along * scale - x1, (box[1] + box[3]) / 2 - away * scale - y1
            elif name == "Above":
                x, y = (box[0] + box[2]) / 2 + along * scale - (x0 + x1) / 2, box[1] - away * scale - y1
            else:
                x, y = (box[0] + box[2]) / 2 + along * scale - (x0 + x1) / 2, box[3] + away * scale - y0
            origins[number] = (x, y)
            left, top = min(left, x + x0), min(top, y + y0)
            right, bottom = max(right, x + x1), max(bottom, y + y1)
        self.own[symbol] = box
        self.clusters[symbol] = (left, top, right, bottom)

    def _measure_root(self, has_index: bool, inside: int, scale: float) -> Extent:
        """Places the row in a root; the sign's box."""
        x0, y0, x1, y1 = self.extents[inside]
        *around_it, growth = self.numbers.root[has_index]
        lead, trail, head, foot = (part * scale for part in around_it)
        lead += growth * (y1 - y0)  # the hook's stroke leans
        self.origins[inside] = (lead - x0, 0.0)
        return (0.0, y0 - head, lead + x1 - x0 + trail, y1 + foot)

    def _measure_array(self, array: Array, scale: float) -> None:
        """Places the cells of an array, rows under each other, around the axis of the row that it stands in."""
        columns = columns_of(array, self.extents, self.labels, self.rows, scale)
        axis = self.numbers.bar[0] * scale
        above = -axis - columns.height / 2  # from the row's base line, y down
        base_before = 0.0
        for number, cells in enumerate(array.rows):
            top, bottom, base = columns.lines[number]
            base += above
            for column, cell in enumerate(cells):
                down = base if number == 0 else 0.0
                width = columns.widths[column]
                self.own[cell] = self.clusters[cell] = (0.0, down + top, width, down + bottom)
                content = array.contents.get(cell)
                if content is not None:
                    self.origins[content] = (columns.indent(column, self.extents[content]), down)
                if number:
                    self.x_in_row[cell] = columns.left_edges[column]
            below = array.next_rows.get(cells[0])
            if number:  # the first row has its base line in the contents, this one in itself
                self.origins[array.next_rows[array.rows[number - 1][0]]] = (0.0, base - base_before)
                base_before = base
            if below is not None:
                self.extents[below] = (0.0, 0.0, columns.width, 0.0)
        array.left_edges = columns.left_edges
        whole = (0.0, above, columns.width, above + columns.height)
        for column, cell in enumerate(array.rows[0]):
            edge = columns.left_edges[column]
            self.clusters[cell] = whole if column == 0 else (edge, above, edge, above + columns.height)

    def _grow_brackets(self, symbols: list[int], scale: float, cells: set[int]) -> None:
        """Gives brackets the height of tall content between them, or of the array that they stand at."""
        ratio, offset, thickness = self.numbers.brackets
        pairs = bracket_pairs([self.labels[s] for s in symbols])
        paired = {position for pair in pairs for position in pair}
        grown: list[tuple[int, int, list[int]]] = [(a, b, [symbols[a], symbols[b]]) for a, b in pairs]
        for position, symbol in enumerate(symbols):
            if position in paired or self.labels[symbol] not in _BRACKETS:
                continue
            if position + 1 < len(symbols) and symbols[position + 1] in cells:
                grown.append((position, position + 2, [symbol]))
            elif position and symbols[position - 1] in cells:
                grown.append((position - 2, position, [symbol]))
        for first, last, brackets in grown:
            if last == first + 1:
                continue
            content = [self.clusters[s] for s in symbols[first + 1 : last]]
            top, bottom = min(c[1] for c in content), max(c[3] for c in content)
            for symbol in brackets:
                width, low, high = self.numbers.shapes[self.labels[symbol]]
                height = (bottom - top) * ratio
                if height <= (high - low) * scale:
                    continue
                middle = (top + bottom) / 2 - offset * (bottom - top)
                wide = width * scale if self.labels[symbol] == "|" else max(width * scale, thickness * height)
                box = (0.0, middle - height / 2, wide, middle + height / 2)
                if self.hung[symbol] is None:
                    self.own[symbol] = self.clusters[symbol] = box
                else:
                    self._measure_cluster(symbol, box, scale)

    def placed(self) -> list[Extent]:
        """Boxes of all symbols, from the main row's origin."""
        boxes: list[Extent] = [_NOWHERE] * len(self.labels)
        x_in_row, own, hung, origins = self.x_in_row, self.own, self.hung, self.origins
        absolute = [(0.0, 0.0)] * len(self.rows)
        for number, row in enumerate(self.rows):
            row_x, y = absolute[number]
            for symbol in row.symbols:
                x = row_x + x_in_row[symbol]
                x0, y0, x1, y1 = own[symbol]
                boxes[symbol] = (x + x0, y + y0, x + x1, y + y1)
                around = hung[symbol]
                if around is not None:
                    for child in around.values():
                        dx, dy = origins[child]
                        absolute[child] = (x + dx, y + dy)
        return boxes
