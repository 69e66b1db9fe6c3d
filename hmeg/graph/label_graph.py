r"""CROHME label graphs (``.lg``) and symbol label graphs (symLG), read and written.

Facts about the formats are LgEval's (R. Zanibbi, H. Mouchere), version 0.3.8, and CROHME 2019's (M. Mahdavi):

* object format: ``O, id, label, weight, stroke, ...`` and ``R, parent, child, relation, weight`` (``EO`` means ``R``);
* primitive format: ``N, stroke, label, weight`` and ``E, stroke, stroke, label, weight``, where strokes of one symbol
  are joined by edges ``*`` (or by edges with the symbol's own label) and relations run between all their strokes;
* symLG: the object format with the symbol's path from the root in the place of strokes: ``O``, ``OSub``, ``ORightSup``;
* ``#`` starts a comment, fields are separated by commas, and so the symbol ``,`` is written ``COMMA``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hmeg.quoting import quoted

from .symbol_graph import Relation, SymbolGraph
from .symbol_names import label_of_name
from .tree import walk
from .vocabulary import RELATIONS

_RELATION_NAMES = {
    **{name.lower(): name for name in RELATIONS},
    "r": "Right",
    "hor": "Right",
    "a": "Above",
    "b": "Below",
    "i": "Inside",
    "rsub": "Sub",
    "rsup": "Sup",
}
_SAME_SYMBOL = "*"


# Characters of all paths of one symLG file together: 5,000 symbols in a row come near it.
MAX_PATHS = 64 * 1024 * 1024


class LabelGraphError(ValueError):
    """A label graph that cannot be read (the message names the line) or is too large to write."""


@dataclass(frozen=True)
class LabelGraph:
    """What a label graph file says: the graph, and per symbol its id and its strokes (or its path, in symLG)."""

    graph: SymbolGraph
    ids: tuple[str, ...]
    strokes: tuple[tuple[str, ...], ...]
    name: str | None = None


def read_lg(text: str | bytes) -> SymbolGraph:
    """Symbol graph of a label graph or symLG file; symbols and relations in the file's order.

    Raises LabelGraphError.
    """
    return parse_lg(text).graph


def parse_lg(text: str | bytes) -> LabelGraph:
    """Read a label graph or symLG file with the ids and strokes of its symbols.

    A file in primitive format may hold every inherited relation (each symbol related to all that is right of it, as
    CROHME's first files do); only the relation to the nearest symbol, the parent in the tree, is kept.
    Raises LabelGraphError.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise LabelGraphError(f"not UTF-8 text (byte {error.start})") from None
    objects: list[_Record] = []
    nodes: list[_Record] = []
    relations: list[_Record] = []
    edges: list[_Record] = []
    kinds = {"O": (objects, 3), "N": (nodes, 3), "R": (relations, 4), "EO": (relations, 4), "E": (edges, 4)}
    name = None
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if line.startswith("#"):
            parts = line[1:].split(",", 1)
            if parts[0].strip() == "IUD" and len(parts) == 2:
                name = parts[1].strip()
            continue
        if not line:
            continue
        fields = tuple(field.strip() for field in line.split(","))
        if fields[0] not in kinds:
            raise LabelGraphError(f"line {number}: {quoted(fields[0])} is not one of {', '.join(kinds)}")
        records, least = kinds[fields[0]]
        if len(fields) < least:
            raise LabelGraphError(f"line {number}: {fields[0]} wants at least {least} fields, got {len(fields)}")
        records.append(_Record(number, fields[1:]))
    if objects and nodes:
        raise LabelGraphError(f"line {nodes[0].line}: nodes (N) and objects (O) in one file")
    if not objects and not nodes:
        raise LabelGraphError("there are no symbols")
    if objects:
        if edges:
            raise LabelGraphError(f"line {edges[0].line}: an edge between strokes (E) in a file of objects")
        return _from_objects(objects, relations, name)
    if relations:
        raise LabelGraphError(f"line {relations[0].line}: a relation between objects in a file of strokes")
    return _from_strokes(nodes, edges, name)


@dataclass(frozen=True)
class _Record:
    line: int
    fields: tuple[str, ...]


def _label(record: _Record) -> str:
    label = label_of_name(record.fields[1])
    if label is None:
        raise LabelGraphError(f"line {record.line}: symbol {quoted(record.fields[1])} is not one of the known symbols")
    return label


def _relation_name(record: _Record) -> str:
    name = _RELATION_NAMES.get(record.fields[2].lower())
    if name is None:
        what = f"relation {quoted(record.fields[2])}"
        raise LabelGraphError(f"line {record.line}: {what} is not one of {', '.join(RELATIONS)}")
    return name


def _row_of(rows: dict[str, int], key: str, record: _Record) -> int:
    if key not in rows:
        raise LabelGraphError(f"line {record.line}: {quoted(key)} is not declared")
    return rows[key]


def _graph(labels: Iterable[str], relations: Iterable[Relation]) -> SymbolGraph:
    try:
        return SymbolGraph(tuple(labels), tuple(relations))
    except ValueError as error:
        raise LabelGraphError(str(error)) from None


def _from_objects(objects: list[_Record], relations: list[_Record], name: str | None) -> LabelGraph:
    rows: dict[str, int] = {}
    for row, record in enumerate(objects):
        if record.fields[0] in rows:
            raise LabelGraphError(f"line {record.line}: object {quoted(record.fields[0])} is declared twice")
        rows[record.fields[0]] = row
    graph = _graph(
        [_label(record) for record in objects],
        _without_inherited(
            [
                Relation(_row_of(rows, r.fields[0], r), _row_of(rows, r.fields[1], r), _relation_name(r))
                for r in relations
            ]
        ),
    )
    return LabelGraph(graph, tuple(rows), tuple(tuple(s for s in r.fields[3:] if s) for r in objects), name)


def _without_inherited(relations: list[Relation]) -> list[Relation]:
    """Relations without those that follow from others.

    CROHME 2019 writes a relation such as Inside from a root to several members of the row in it. The member that the
    same symbol holds likewise, and that stands before another one on the row, is that one's parent.
    """
    incoming: dict[int, dict[int, str]] = {}
    for relation in relations:
        incoming.setdefault(relation.object, {})[relation.subject] = relation.name
    if all(len(holders) == 1 for holders in incoming.values()):
        return relations

    def follows(relation: Relation) -> bool:
        others = incoming[relation.object]
        return any(
            name == "Right" and incoming.get(left, {}).get(relation.subject) == relation.name
            for left, name in others.items()
            if left != relation.subject
        )

    return [relation for relation in relations if not follows(relation)]


def _from_strokes(nodes: list[_Record], edges: list[_Record], name: str | None) -> LabelGraph:
    rows: dict[str, int] = {}
    for record in nodes:
        if record.fields[0] in rows:
            raise LabelGraphError(f"line {record.line}: stroke {quoted(record.fields[0])} is declared twice")
        rows[record.fields[0]] = len(rows)
    labels = [_label(record) for record in nodes]

    # Strokes of one symbol: a merge edge in either direction joins them.
    directed = {(r.fields[0], r.fields[1], r.fields[2]) for r in edges}
    symbol_of = list(range(len(nodes)))
    links: list[tuple[int, int, _Record]] = []
    for record in edges:
        start, end = (_row_of(rows, key, record) for key in record.fields[:2])
        edge = record.fields[2]
        own_label = nodes[start].fields[1] == edge == nodes[end].fields[1]
        if edge == _SAME_SYMBOL or (own_label and (record.fields[1], record.fields[0], edge) in directed):
            if labels[start] != labels[end]:
                raise LabelGraphError(f"line {record.line}: strokes of one symbol have two labels")
            new, old = sorted((_first_stroke(symbol_of, start), _first_stroke(symbol_of, end)))
            symbol_of[old] = new
        elif edge != "_":
            links.append((start, end, record))
    symbol_of = [_first_stroke(symbol_of, stroke) for stroke in range(len(symbol_of))]
    first_strokes = sorted(set(symbol_of))
    row_of_symbol = {symbol: row for row, symbol in enumerate(first_strokes)}

    incoming: list[dict[int, str]] = [{} for _ in first_strokes]
    for start, end, record in links:
        subject, target = row_of_symbol[symbol_of[start]], row_of_symbol[symbol_of[end]]
        relation = _relation_name(record)
        if incoming[target].setdefault(subject, relation) != relation:
            raise LabelGraphError(f"line {record.line}: two relations between the same two symbols")
    members: list[list[str]] = [[] for _ in first_strokes]
    for record, symbol in zip(nodes, symbol_of, strict=True):
        members[row_of_symbol[symbol]].append(record.fields[0])
    strokes = tuple(tuple(rows) for rows in members)
    symbols = [labels[symbol] for symbol in first_strokes]
    ids = tuple(_object_ids(symbols))
    return LabelGraph(_graph(symbols, _nearest(incoming, ids)), ids, strokes, name)


def _first_stroke(symbol_of: list[int], stroke: int) -> int:
    """Lowest stroke of the symbol a stroke belongs to so far, following links and shortening them."""
    while symbol_of[stroke] != stroke:
        symbol_of[stroke] = symbol_of[symbol_of[stroke]]
        stroke = symbol_of[stroke]
    return stroke


def _nearest(incoming: list[dict[int, str]], ids: Sequence[str]) -> list[Relation]:
    """Relations to parents only, out of relations to some or all ancestors."""
    relations = []
    for row, holders in enumerate(incoming):
        if not holders:
            continue
        # With inherited relations the parent is itself held by all the other ancestors.
        parent = max(holders, key=lambda holder: len(incoming[holder]))
        if not set(holders) - {parent} <= set(incoming[parent]):
            raise LabelGraphError(f"symbol {ids[row]} hangs on several symbols that do not hang on each other")
        relations.append(Relation(parent, row, holders[parent]))
    return relations


def _object_ids(labels: Iterable[str]) -> list[str]:
    """``x_1``, ``COMMA_1``, ``x_2``, ...: the label and its count so far."""
    seen: Counter[str] = Counter()
    ids = []
    for label in labels:
        seen[label] += 1
        ids.append(f"{_written(label)}_{seen[label]}")
    return ids


def _written(label: str) -> str:
    return "COMMA" if label == "," else label


def _objects_text(graph: SymbolGraph, primitives: Sequence[Sequence[object]], name: str) -> str:
    ids = _object_ids(graph.symbols)
    lines = [f"# IUD, {' '.join(name.split())}", f"# Objects({len(graph)}):"]
    for key, label, parts in zip(ids, graph.symbols, primitives, strict=True):
        lines.append(", ".join(["O", key, _written(label), "1.0", *map(str, parts)]))
    lines += ["", "# Relations from SRT:"]
    lines += [f"R, {ids[r.subject]}, {ids[r.object]}, {r.name}, 1.0" for r in graph.relations]
    return "\n".join(lines) + "\n"


def write_lg(graph: SymbolGraph, name: str = "", strokes: Sequence[Sequence[int | str]] | None = None) -> str:
    """A label graph in object format.

    name     the expression's name, in the first line
    strokes  ids of the strokes of every symbol; without ink (None) each symbol is its own primitive, by its row
    ``read_lg`` of the result equals ``graph``.
    """
    if strokes is None:
        strokes = [(row,) for row in range(len(graph))]
    if len(strokes) != len(graph):
        raise ValueError(f"strokes are given for {len(strokes)} symbols, the graph has {len(graph)}")
    return _objects_text(graph, strokes, name)


def write_symlg(graph: SymbolGraph, name: str = "") -> str:
    """A symbol label graph: every symbol is identified by its path of relations from the root.

    A path that occurs twice (two subscripts on one symbol) is followed by ``_2``, ``_3``, ... from its second use on.
    Raises NotATreeError when the graph is no forest, ValueError when the paths would fill more than 64 MiB (they grow
    with the square of a row's length). ``read_lg`` of the result equals ``graph``.
    """
    return _objects_text(graph, [(path,) for path in symbol_paths(graph)], name)


def symbol_paths(graph: SymbolGraph) -> list[str]:
    """Path of every symbol: ``O`` for the root, then the relations on the way, e.g. ``ORightSup``."""
    steps = walk(graph)
    lengths = [1] * len(graph)
    for row, relation, parent in steps:
        lengths[row] = 1 if parent is None else lengths[parent] + len(relation)
    if sum(lengths) > MAX_PATHS:
        raise LabelGraphError(f"paths of {len(graph)} symbols would fill {sum(lengths) >> 20} MiB; use format lg")
    paths = [""] * len(graph)
    used: Counter[str] = Counter()
    for row, relation, parent in steps:
        path = "O" if parent is None else paths[parent] + relation
        used[path] += 1
        paths[row] = path if used[path] == 1 else f"{path}_{used[path]}"
    return paths
