"""CROHME InkML -> strokes, the symbols they make up, and the symbol graph."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from xml.etree.ElementTree import Element

import numpy as np

from hmeg.quoting import quoted

from ..graph.latex import LatexError, parse_latex
from ..graph.mathml import XML_ID, MathmlError, MathmlLayout, labels_by_text, local_name, parse_xml, read_layout
from ..graph.symbol_graph import SymbolGraph
from ..graph.symbol_names import label_of_name


class InkmlError(ValueError):
    """InkML that cannot be used; the message is one line that says why (the caller knows the file's name)."""


@dataclass(frozen=True)
class Ink:
    """One handwritten expression.

    name            what the caller called it
    strokes         (n, 2) float64 arrays of points, x to the right, y down, in the file's own units; n >= 1
    symbol_strokes  for every symbol of the graph the rows of its strokes, in file order; empty where nobody says
    graph           the symbol graph, symbols in reading order, without boxes
    latex, writer   the file's annotations, as they stand, where it has them
    stroke_ids      the id of every stroke in the file, by which label graphs refer to it
    Strokes that belong to no symbol (slips of the pen) are in ``strokes`` and in no entry of ``symbol_strokes``.
    """

    name: str
    strokes: tuple[np.ndarray, ...]
    symbol_strokes: tuple[tuple[int, ...], ...]
    graph: SymbolGraph
    latex: str | None = None
    writer: str | None = None
    stroke_ids: tuple[str, ...] = ()

    def symbol_boxes(self) -> np.ndarray:
        """(V, 4) float64: x0, y0, x1, y1 of each symbol's points, in ink units, y down. A dot has a box of no area."""
        boxes = np.empty((len(self.symbol_strokes), 4))
        for row, rows in enumerate(self.symbol_strokes):
            points = np.concatenate([self.strokes[i] for i in rows])
            boxes[row, :2], boxes[row, 2:] = points.min(axis=0), points.max(axis=0)
        return boxes


@dataclass(frozen=True)
class _Group:
    """A trace group: the label of a symbol, the MathML element it points at, the rows of its strokes."""

    label: str
    href: str | None
    strokes: tuple[int, ...]


def read_inkml(data: bytes, name: str = "", segmented: bool = True) -> Ink:
    """Read one expression out of an InkML file.

    segmented  whether ink that is not divided into symbols (MathWriting's) is refused; otherwise its graph is that of
               its LaTeX, and it has no ``symbol_strokes``, hence no boxes

    The label of a symbol is its trace group's; structure comes from the MathML, linked by href and xml:id. Symbols
    that are not linked one to one are matched by label; see ``docs/graphs.md``. Raises InkmlError.
    """
    if not data.strip():
        raise InkmlError("the file is empty")
    try:
        root = parse_xml(data)
        if local_name(root) != "ink":
            raise InkmlError(f"root element is {quoted(local_name(root))}, not 'ink'")
        rows, strokes = _strokes(root)
        groups = _groups(root, rows)
        if not groups:
            if segmented:
                raise InkmlError("there is no segmentation into symbols")
            return _unsegmented(name, root, strokes, tuple(rows))
        math = _math(root)
        return _assemble(name, root, math, groups, strokes, tuple(rows))
    except (MathmlError, LatexError) as error:
        raise InkmlError(str(error)) from None


# Where an expression's LaTeX stands, the best first: MathWriting has it as it was typed and in one form.
_LATEX_ANNOTATIONS = ("normalizedLabel", "truth", "label")


def _unsegmented(name: str, root: Element, strokes: tuple[np.ndarray, ...], stroke_ids: tuple[str, ...]) -> Ink:
    """Ink without symbols, with the graph of its LaTeX."""
    latex = next((text for kind in _LATEX_ANNOTATIONS if (text := _annotation(root, kind)) is not None), None)
    if latex is None:
        raise InkmlError("there is neither a segmentation into symbols nor LaTeX")
    return Ink(name, strokes, (), parse_latex(latex), latex, _annotation(root, "writer"), stroke_ids)


def _annotation(element: Element, kind: str) -> str | None:
    for child in element:
        if local_name(child) == "annotation" and child.get("type") == kind and (child.text or "").strip():
            return (child.text or "").strip()
    return None


def _channels(root: Element) -> tuple[int, int]:
    """Columns of X and Y in a point."""
    names = [e.get("name", "").upper() for e in root.iter() if local_name(e) == "channel"]
    if not names:
        return 0, 1
    try:
        return names.index("X"), names.index("Y")
    except ValueError:
        raise InkmlError(f"trace format has no X and Y channel (it has {', '.join(names)})") from None


def _strokes(root: Element) -> tuple[dict[str, int], tuple[np.ndarray, ...]]:
    x, y = _channels(root)
    rows: dict[str, int] = {}
    strokes: list[np.ndarray] = []
    for trace in (e for e in root if local_name(e) == "trace"):
        key = trace.get("id") or trace.get(XML_ID)
        if key is None:
            raise InkmlError(f"trace {len(strokes)} has no id")
        if key in rows:
            raise InkmlError(f"two traces have the id {quoted(key)}")
        rows[key] = len(strokes)
        strokes.append(_points(trace.text or "", key, x, y))
    if not strokes:
        raise InkmlError("there are no traces")
    return rows, tuple(strokes)


def _points(text: str, key: str, x: int, y: int) -> np.ndarray:
    text = text.strip().rstrip(",")
    if not text:
        raise InkmlError(f"trace {quoted(key)} has no points")
    if any(mark in text for mark in "'\"!"):
        text = _without_differences(text, key)
    count = text.count(",") + 1
    try:
        values = np.array(text.replace(",", " ").split(), dtype=np.float64)
    except ValueError:
        raise InkmlError(f"trace {quoted(key)} holds something that is no number") from None
    channels = len(text.split(",", 1)[0].split())
    if channels * count != len(values) or channels <= max(x, y):
        raise InkmlError(f"trace {quoted(key)} has points of uneven or too few values")
    points = np.ascontiguousarray(values.reshape(count, channels)[:, [x, y]])
    if not np.isfinite(points).all():
        raise InkmlError(f"trace {quoted(key)} has a point that is not finite")
    return points


_CODED = re.compile(r"([!'\"]?)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


def _without_differences(text: str, key: str) -> str:
    """A trace with plain numbers in the place of differences.

    After ``'`` the values of a channel are first differences, after ``"`` second ones, after ``!`` plain again (InkML,
    section 4.2).
    """
    orders: list[str] = []
    values: list[float] = []
    speeds: list[float] = []
    points: list[str] = []
    for point in text.split(","):
        at = channel = 0
        point = point.strip()
        while at < len(point):
            coded = _CODED.match(point, at)
            if coded is None:
                raise InkmlError(f"trace {quoted(key)} holds something that is no number")
            at = coded.end()
            if channel == len(orders):
                orders.append("!")
                values.append(0.0)
                speeds.append(0.0)
            orders[channel] = coded[1] or orders[channel]
            number = float(coded[2])
            if orders[channel] == "!":
                values[channel], speeds[channel] = number, 0.0
            else:
                speeds[channel] = number if orders[channel] == "'" else speeds[channel] + number
                values[channel] += speeds[channel]
            channel += 1
        points.append(" ".join(repr(value) for value in values[:channel]))
    return ",".join(points)


def _groups(root: Element, rows: dict[str, int]) -> list[_Group]:
    groups: list[_Group] = []
    owner: dict[int, str] = {}
    for element in root.iter():
        if local_name(element) != "traceGroup":
            continue
        references = [e.get("traceDataRef", "").lstrip("#") for e in element if local_name(e) == "traceView"]
        if not references:
            continue
        text = _annotation(element, "truth")
        if text is None:
            raise InkmlError("a trace group has no label")
        label = label_of_name(text)
        if label is None:
            raise InkmlError(f"symbol {quoted(text)} is not one of the known symbols")
        for reference in references:
            if reference not in rows:
                raise InkmlError(f"symbol {quoted(label)} refers to trace {quoted(reference)}, which is not there")
            if rows[reference] in owner:
                both = f"{quoted(owner[rows[reference]])} and {quoted(label)}"
                raise InkmlError(f"trace {quoted(reference)} belongs to both {both}")
            owner[rows[reference]] = label
        href = next((e.get("href") for e in element if local_name(e) == "annotationXML" and e.get("href")), None)
        groups.append(_Group(label, href, tuple(sorted(rows[r] for r in references))))
    return groups


def _math(root: Element) -> Element:
    """The MathML of the expression: everything in the annotation, for MfrDB lets siblings of ``math`` stand bare."""
    for element in root:
        if local_name(element) == "annotationXML" and len(element):
            row = Element("mrow")
            row.extend(list(element))
            return row
    raise InkmlError("there is no MathML")


def _assemble(
    name: str,
    root: Element,
    math: Element,
    groups: list[_Group],
    strokes: tuple[np.ndarray, ...],
    stroke_ids: tuple[str, ...],
) -> Ink:
    linked = _link(math, groups)

    def labels_of(element: Element) -> list[str]:
        group = linked.get(id(element))
        return labels_by_text(element) if group is None else [groups[group].label]

    layout = read_layout(math, labels_of)
    rows = _match_the_rest(layout, [linked.get(id(leaf.element)) for leaf in layout.leaves], groups, strokes)
    symbol_strokes = tuple(groups[g].strokes for g in rows)
    _set_root_indices_right(layout, symbol_strokes, strokes)
    latex = _annotation(root, "truth")
    return Ink(
        name=name,
        strokes=strokes,
        symbol_strokes=symbol_strokes,
        graph=layout.graph(latex=latex),
        latex=latex,
        writer=_annotation(root, "writer"),
        stroke_ids=stroke_ids,
    )


def _link(math: Element, groups: list[_Group]) -> dict[int, int]:
    """id() of a MathML element -> row of its trace group, for links that are one to one."""
    elements: dict[str, list[Element]] = defaultdict(list)
    for element in math.iter():
        key = element.get(XML_ID)
        if key is not None:
            elements[key].append(element)
    hrefs = Counter(group.href for group in groups)
    return {
        id(elements[group.href][0]): row
        for row, group in enumerate(groups)
        if group.href is not None and hrefs[group.href] == 1 and len(elements[group.href]) == 1
    }


def _match_the_rest(
    layout: MathmlLayout, linked: list[int | None], groups: list[_Group], strokes: tuple[np.ndarray, ...]
) -> list[int]:
    """Row of the trace group of every symbol.

    Symbols without a link take the free groups of their label: the only one, or, for several symbols on one base line,
    the groups from left to right. Free groups that point nowhere and have no symbol to go to are what the writer
    struck out or wrote twice; their strokes stay in no symbol.
    """
    used = {group for group in linked if group is not None}
    free: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        if row not in used:
            free[group.label].append(row)
    waiting: dict[str, list[int]] = defaultdict(list)
    for row, group_row in enumerate(linked):
        if group_row is None:
            waiting[layout.leaves[row].label].append(row)
    result = list(linked)
    base_lines = _base_lines(layout)
    for label, symbols in waiting.items():
        candidates = free.pop(label, [])
        if len(candidates) != len(symbols):
            raise InkmlError(
                f"{len(symbols)} symbols {quoted(label)} of the MathML are not linked, "
                f"and {len(candidates)} trace groups"
            )
        if len(symbols) > 1:
            candidates = _left_to_right(candidates, groups, strokes)
            if len({base_lines[row] for row in symbols}) > 1 or not candidates:
                raise InkmlError(f"which of {len(symbols)} trace groups {quoted(label)} is which symbol cannot be told")
        for row, group_row in zip(symbols, candidates, strict=True):
            result[row] = group_row
    for rows in free.values():
        for row in rows:
            href = groups[row].href
            if href is not None:
                raise InkmlError(f"trace group {quoted(groups[row].label)} points at {quoted(href)}, not in the MathML")
    return [group for group in result if group is not None]


def _base_lines(layout: MathmlLayout) -> list[int]:
    """For every symbol the first symbol of its base line. Parents come before their children in reading order."""
    first = list(range(len(layout.leaves)))
    for relation in layout.relations:
        if relation.name == "Right":
            first[relation.object] = first[relation.subject]
    return first


def _left_to_right(candidates: list[int], groups: list[_Group], strokes: tuple[np.ndarray, ...]) -> list[int]:
    """Groups in the order of their ink from left to right; empty when two overlap, so that there is no such order."""
    spans = []
    for row in candidates:
        x = np.concatenate([strokes[i][:, 0] for i in groups[row].strokes])
        spans.append((x.min(), x.max(), row))
    spans.sort()
    if any(left[1] >= right[0] for left, right in pairwise(spans)):
        return []
    return [row for _, _, row in spans]


def _set_root_indices_right(
    layout: MathmlLayout, symbol_strokes: tuple[tuple[int, ...], ...], strokes: tuple[np.ndarray, ...]
) -> None:
    """Exchange index and radicand of a root where the ink shows that the MathML has them the wrong way round.

    MathML's ``mroot`` holds the radicand first; a few of MfrDB's hold the index first. An index is written left of the
    radicand, always.
    """
    parts: dict[int, dict[str, int]] = defaultdict(dict)
    for at, relation in enumerate(layout.relations):
        if layout.leaves[relation.subject].label == r"\sqrt" and relation.name in ("Above", "Inside"):
            parts[relation.subject][relation.name] = at
    for both in parts.values():
        if len(both) == 2:
            index, radicand = (layout.relations[both[name]] for name in ("Above", "Inside"))
            left_edges = [
                min(strokes[i][:, 0].min() for row in _hanging_on(part.object, layout) for i in symbol_strokes[row])
                for part in (index, radicand)
            ]
            if left_edges[0] > left_edges[1]:
                layout.relations[both["Above"]] = replace(index, name="Inside")
                layout.relations[both["Inside"]] = replace(radicand, name="Above")


def _hanging_on(top: int, layout: MathmlLayout) -> set[int]:
    """A symbol and everything below it in the tree. Parents come before their children in the list of relations."""
    found = {top}
    for relation in layout.relations:
        if relation.subject in found:
            found.add(relation.object)
    return found
