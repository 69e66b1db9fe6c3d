"""Measures the proportions of handwriting that the typesetter uses.

    python -m tools.typeset_statistics DATA [--out FILE]

DATA is a prepared data set (``hmeg data crohme``). Only medians over many expressions are kept. All lengths are in
units of a row's scale, which makes the median ``x`` 1 high; heights are counted upwards from a row's baseline, on which
the median ``x`` stands.

    symbols     width, bottom and top of each label
    bar         of a fraction: height of its middle, thickness, thickness added per width, overhang on each side
    gaps        between two neighbours on a row: common part, parts of the left and of the right one
    rows        by relation and parent: scale relative to the parent's row and where the row is placed
    root        lead, trail, head, foot of a root around its radicand; lead that of a radicand without height, and last
                how much it grows with the height; also of those with an index
    brackets    height of brackets relative to tall content, thickness of tall ones
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

import hmeg.graph
from hmeg.data.relation_records import from_records
from hmeg.graph.symbol_graph import SymbolGraph
from hmeg.graph.typeset import STATISTICS_FILE, gap_kinds
from hmeg.graph.typeset_rows import CLOSING, OPENING, Row, bracket_pairs, rows_of
from hmeg.graph.vocabulary import RELATIONS, SYMBOL_LABELS
from tools.statistics_file import write_statistics

_STROKE = 2.5 / 256  # width of the pen in prepared images, which boxes include
_ROUNDS = 6  # of fitting rows to labels and labels to rows
_SQUARE_ROOT = [2.0, 0.0, 1.7]  # one without a radicand, which nobody writes
_ENOUGH = 15  # observations for a number of its own
# Their sizes depend on what stands around them, or hardly tell the size of the writing.
_UNRELIABLE = frozenset(("\\sqrt", "-", ".", ",", "/", "\\prime", "\\ldots", "\\sum", "\\int", "|")) | OPENING | CLOSING

Extent = tuple[float, float, float, float]


@dataclass
class _Written:
    """An expression that somebody wrote: its rows, ink boxes, and the rows' fitted scales and baselines (y down)."""

    graph: SymbolGraph
    rows: list[Row]
    hung: list[dict[str, int] | None]
    boxes: list[list[float]]
    clusters: list[Extent] = field(default_factory=list)
    extents: list[Extent] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    baselines: list[float] = field(default_factory=list)

    def is_free(self, symbol: int) -> bool:
        """Whether nothing makes the symbol larger than it would be by itself."""
        around, label = self.hung[symbol], self.graph.symbols[symbol]
        if around is None:
            return True
        return not ((label == "-" and ("Above" in around or "Below" in around)) or "Inside" in around)


def _union(boxes: Iterable[Iterable[float]]) -> Extent:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _written(graph: SymbolGraph) -> _Written:
    assert graph.boxes is not None
    half = _STROKE / 2
    boxes = [[x0 + half, y0 + half, x1 - half, y1 - half] for x0, y0, x1, y1 in graph.boxes.astype(float).tolist()]
    rows, hung = rows_of(graph)
    written = _Written(graph, rows, hung, boxes)
    written.extents = [(0.0, 0.0, 0.0, 0.0)] * len(rows)
    written.clusters = [(0.0, 0.0, 0.0, 0.0)] * len(boxes)
    for number in range(len(rows) - 1, -1, -1):
        for symbol in rows[number].symbols:
            around = hung[symbol] or {}
            written.clusters[symbol] = _union([boxes[symbol], *(written.extents[n] for n in around.values())])
        written.extents[number] = _union(written.clusters[s] for s in rows[number].symbols)
    return written


def _fit(expressions: list[_Written]) -> dict[str, list[float]]:
    """Fits scale and baseline of every row; returns width, bottom and top of each label."""
    shapes: dict[str, list[float]] = {}
    for expression in expressions:
        heights = [box[3] - box[1] for s, box in enumerate(expression.boxes) if expression.is_free(s)]
        expression.scales = [max(median(heights or [0.1]), 0.02)] * len(expression.rows)
        expression.baselines = [0.0] * len(expression.rows)
    for turn in range(_ROUNDS):
        observed: dict[str, list[list[float]]] = defaultdict(list)
        for expression in expressions:
            if turn:
                _fit_rows(expression, shapes)
            else:
                for number, row in enumerate(expression.rows):
                    expression.baselines[number] = median(expression.boxes[s][3] for s in row.symbols)
            for number, row in enumerate(expression.rows):
                scale, baseline = expression.scales[number], expression.baselines[number]
                for symbol in row.symbols:
                    if expression.is_free(symbol):
                        x0, y0, x1, y1 = expression.boxes[symbol]
                        observed[expression.graph.symbols[symbol]].append(
                            [(x1 - x0) / scale, (baseline - y1) / scale, (baseline - y0) / scale]
                        )
        shapes = {label: [median(column) for column in zip(*rows, strict=True)] for label, rows in observed.items()}
        _, bottom, top = shapes["x"]
        shapes = {
            label: [width / (top - bottom), (low - bottom) / (top - bottom), (high - bottom) / (top - bottom)]
            for label, (width, low, high) in shapes.items()
        }
    for expression in expressions:
        _fit_rows(expression, shapes)
    return shapes


def _fit_rows(expression: _Written, shapes: dict[str, list[float]]) -> None:
    unknown: list[int] = []
    for number, row in enumerate(expression.rows):
        free = [s for s in row.symbols if expression.is_free(s)]
        chosen = [s for s in free if expression.graph.symbols[s] not in _UNRELIABLE] or free
        ratios, baselines = [], []
        for symbol in chosen:
            x0, y0, x1, y1 = expression.boxes[symbol]
            width, low, high = shapes[expression.graph.symbols[symbol]]
            ratios.append(max(x1 - x0 + y1 - y0, 0.004) / max(width + high - low, 0.02))
        if not ratios:
            unknown.append(number)
            continue
        scale = expression.scales[number] = median(ratios)
        for symbol in chosen:
            _, y0, _, y1 = expression.boxes[symbol]
            _, low, high = shapes[expression.graph.symbols[symbol]]
            baselines.append((y0 + y1) / 2 + (low + high) / 2 * scale)
        expression.baselines[number] = median(baselines)
    # Rows of nothing but fractions and roots are as large as what these hold, and aligned by them.
    for number in reversed(unknown):
        symbols = expression.rows[number].symbols
        held = [expression.scales[n] for s in symbols for n in (expression.hung[s] or {}).values()]
        expression.scales[number] = median(held)
        axis = sum(shapes["-"][1:]) / 2 * expression.scales[number]
        expression.baselines[number] = median(
            (expression.boxes[s][1] + expression.boxes[s][3]) / 2 + axis
            if expression.graph.symbols[s] == "-"
            else expression.baselines[(expression.hung[s] or {}).get("Inside", number)]
            for s in symbols
        )


class _Observations:
    """Numbers by name, and their medians."""

    def __init__(self) -> None:
        self.values: dict[str, list[list[float]]] = defaultdict(list)

    def add(self, *keys: str, numbers: Iterable[float]) -> None:
        numbers = list(numbers)
        for key in keys:
            self.values[key].append(numbers)

    def medians(self) -> dict[str, list[float]]:
        """Medians of names without a blank (the general ones), and of those that were seen often enough."""
        often = {key: rows for key, rows in sorted(self.values.items()) if " " not in key or len(rows) >= _ENOUGH}
        return {key: _medians(rows) for key, rows in often.items()}


def _medians(rows: list[list[float]]) -> list[float]:
    return [median(column) for column in zip(*rows, strict=True)]


def _root(observed: list[list[float]]) -> list[float]:
    """The numbers of ``root``, from lead, trail, head, foot and radicand's height of many.

    Lead is a resistant line over height: its slope lies between the medians of the lowest and the highest third.
    """
    ascending = sorted(observed, key=lambda numbers: numbers[4])
    third = max(len(ascending) // 3, 1)
    low, high = _medians(ascending[:third]), _medians(ascending[-third:])
    growth = (high[0] - low[0]) / (high[4] - low[4]) if high[4] > low[4] else 0.0
    _, trail, head, foot, _ = _medians(observed)
    return [median(lead - growth * height for lead, _, _, _, height in observed), trail, head, foot, growth]


def _measure_rows(expressions: list[_Written]) -> tuple[_Observations, _Observations]:
    """How rows hang on symbols, and how wide, tall and thick symbols are that hold rows."""
    rows, shapes = _Observations(), _Observations()
    for expression in expressions:
        for number, row in enumerate(expression.rows):
            if number:
                _measure_row(expression, number, row, rows)
        for symbol, around in enumerate(expression.hung):
            if around is None:
                continue
            label, box = expression.graph.symbols[symbol], expression.boxes[symbol]
            own = next(expression.scales[r.parent_row] for r in expression.rows[1:] if r.parent == symbol)
            baseline = next(expression.baselines[r.parent_row] for r in expression.rows[1:] if r.parent == symbol)
            if label == "-" and "Above" in around and "Below" in around:
                widest = max(expression.extents[n][2] - expression.extents[n][0] for n in around.values())
                width, thick = box[2] - box[0], box[3] - box[1]
                shapes.add(
                    "bar",
                    numbers=[
                        (baseline - (box[1] + box[3]) / 2) / own,
                        thick / max(width, 0.01),
                        (width - widest) / 2 / own,
                    ],
                )
            if "Inside" in around:
                inside = expression.extents[around["Inside"]]
                shapes.add(
                    "root",
                    *(["root with index"] if "Above" in around else []),
                    numbers=[
                        (inside[0] - box[0]) / own,
                        (box[2] - inside[2]) / own,
                        (inside[1] - box[1]) / own,
                        (box[3] - inside[3]) / own,
                        (inside[3] - inside[1]) / own,
                    ],
                )
    return rows, shapes


def _measure_row(expression: _Written, number: int, row: Row, rows: _Observations) -> None:
    scale, baseline = expression.scales[number], expression.baselines[number]
    own, extent = expression.scales[row.parent_row], expression.extents[number]
    label, box = expression.graph.symbols[row.parent], expression.boxes[row.parent]
    middle = (box[0] + box[2]) / 2
    if row.relation == "Sup":
        place = [(extent[0] - box[2]) / own, (box[1] - baseline) / own]
    elif row.relation == "Sub":
        place = [(extent[0] - box[2]) / own, (box[3] - baseline) / own]
    elif row.relation == "Above" and label == "\\sqrt":
        # Index of a root: from the root's left edge, and from its middle.
        place = [(extent[2] - box[0]) / own, ((box[1] + box[3]) / 2 - extent[3]) / own]
    elif row.relation == "Above":
        place = [((extent[0] + extent[2]) / 2 - middle) / own, (box[1] - extent[3]) / own]
    elif row.relation == "Below":
        place = [((extent[0] + extent[2]) / 2 - middle) / own, (extent[1] - box[3]) / own]
    else:
        place = [0.0, 0.0]
    rows.add(row.relation, f"{row.relation} {label}", numbers=[scale / own, *place])


def _measure_gaps(expressions: list[_Written]) -> dict[str, Any]:
    pairs: list[tuple[str, str, float]] = []
    for expression in expressions:
        for number, row in enumerate(expression.rows):
            kinds = [gap_kinds(expression.graph.symbols[s], expression.hung[s]) for s in row.symbols]
            for position in range(1, len(row.symbols)):
                a, b = row.symbols[position - 1 : position + 1]
                gap = (expression.clusters[b][0] - expression.clusters[a][2]) / expression.scales[number]
                pairs.append((kinds[position - 1][0], kinds[position][1], gap))
    common = median(gap for _, _, gap in pairs)
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    for _ in range(3):
        for side, other, table in ((0, 1, after), (1, 0, before)):
            of_other = before if side == 0 else after
            groups: dict[str, list[float]] = defaultdict(list)
            for pair in pairs:
                groups[str(pair[side])].append(pair[2] - common - of_other.get(str(pair[other]), 0.0))
            for label, gaps in groups.items():
                if len(gaps) >= _ENOUGH:
                    table[label] = median(gaps)
    return {"common": common, "after": dict(sorted(after.items())), "before": dict(sorted(before.items()))}


def _measure_brackets(expressions: list[_Written], shapes: dict[str, list[float]]) -> dict[str, list[float]]:
    """Brackets around flat content give ``shapes`` their size; the others how they grow."""
    flat, tall = _Observations(), _Observations()
    for expression in expressions:
        for number, row in enumerate(expression.rows):
            labels = [expression.graph.symbols[s] for s in row.symbols]
            scale, baseline = expression.scales[number], expression.baselines[number]
            for first, last in bracket_pairs(labels):
                content = [expression.clusters[s] for s in row.symbols[first + 1 : last]]
                if not content:
                    continue
                _, top, _, bottom = _union(content)
                for position in (first, last):
                    x0, y0, x1, y1 = expression.boxes[row.symbols[position]]
                    label = labels[position]
                    if bottom - top <= 2.2 * scale:
                        flat.add(label, numbers=[(x1 - x0) / scale, (baseline - y1) / scale, (baseline - y0) / scale])
                    elif bottom - top >= 2.8 * scale:
                        tall.add(
                            "tall",
                            numbers=[
                                (y1 - y0) / (bottom - top),
                                (top + bottom - y0 - y1) / 2 / (bottom - top),
                                (x1 - x0) / (y1 - y0 + 1e-3),
                            ],
                        )
    shapes.update({key: [median(c) for c in zip(*v, strict=True)] for key, v in flat.values.items() if len(v) >= 5})
    return tall.medians()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 3)


def measure(graphs: Iterable[SymbolGraph]) -> dict[str, Any]:
    """Statistics of graphs with boxes, as the module's text describes them.

    ValueError when the graphs lack something that is to be measured: an ``x``, a fraction, a root with an index, ...
    """
    expressions = [_written(graph) for graph in graphs if len(graph)]
    if not any("x" in expression.graph.symbols for expression in expressions):
        raise ValueError("no expression has the letter x, the unit of all proportions")
    shapes = _fit(expressions)
    brackets = _measure_brackets(expressions, shapes)
    for label in SYMBOL_LABELS:
        if label not in shapes:  # never seen, or never without a radicand
            shapes[label] = _SQUARE_ROOT if label == "\\sqrt" else shapes["x"]
    rows, holders = _measure_rows(expressions)
    result = {
        "symbols": dict(sorted(shapes.items())),
        "gaps": _measure_gaps(expressions),
        "rows": rows.medians(),
        "brackets": brackets,
        **{name: _medians(seen) if name == "bar" else _root(seen) for name, seen in sorted(holders.values.items())},
    }
    missing = [name for name in ("bar", "root", "root with index") if name not in result]
    missing += [name for name in RELATIONS if name != "Right" and name not in result["rows"]]
    missing += [] if brackets else ["brackets around tall content"]
    if missing:
        raise ValueError(f"no expression, or too few, with {', '.join(missing)}")
    rounded: dict[str, Any] = _rounded(result)
    return rounded


def _graph_of(record: dict[str, Any]) -> SymbolGraph:
    relations = from_records(record["relations"])
    return SymbolGraph(tuple(record["symbols"]), relations, np.array(record["boxes"], dtype=np.float32))


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(hmeg.graph.__file__).with_name(STATISTICS_FILE),
    show_default="the file in the package",
)
def main(data: Path, out: Path) -> None:
    """Measure the proportions of the prepared data set DATA and write the typesetter's statistics."""
    source = data / "graphs.jsonl"
    if not source.exists():
        raise click.ClickException(f"{data} holds no graphs.jsonl: prepare a data set with `hmeg data crohme`")
    graphs = []
    with open(source, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                graphs.append(_graph_of(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                raise click.ClickException(f"{source}, line {number}, is no record of an expression: {error}") from None
    try:
        statistics = measure(graphs)
    except ValueError as error:
        raise click.ClickException(f"{source}: {error}; measure a larger data set") from None
    write_statistics(out, statistics)
    click.echo(f"{len(graphs)} expressions measured -> {out}")


if __name__ == "__main__":
    main()
