"""Any symbol graph as rows of symbols: what a typesetter lays out, whatever state the graph is in."""

from __future__ import annotations

from dataclasses import dataclass

from .baselines import is_limit_operator
from .symbol_graph import SymbolGraph
from .vocabulary import Vocabulary

OPENING = frozenset(symbol.name for symbol in Vocabulary.open() if symbol.kind == "opening")
CLOSING = frozenset(symbol.name for symbol in Vocabulary.open() if symbol.kind == "closing")
# People write scripts of sums and limits under and over them, whatever the relation is called (CROHME: 117 of 120).
_AS_LIMIT = {"Sub": "Below", "Sup": "Above"}


@dataclass
class Row:
    """Symbols on one baseline, left to right, and what the row hangs on.

    parent    the symbol it hangs on, -1 for the main row
    parent_row  number of the row that holds the parent, -1 for the main row
    relation  how it hangs there: Sub, Sup, Above, Below or Inside; "" for the main row
    """

    parent: int
    parent_row: int
    relation: str
    symbols: list[int]


def rows_of(graph: SymbolGraph) -> tuple[list[Row], list[dict[str, int] | None]]:
    """Rows of ``graph``, parents before children, and for every symbol its rows by relation (None: no rows).

    Every symbol is in exactly one row. A graph that is no tree is made one: of several relations into a symbol the
    first counts; the chains of several roots, and of circles (cut at their first symbol), follow each other in the main
    row; two symbols in the same relation to a third follow each other in one row. Sub and Sup of a sum or a limit
    are taken for Below and Above.
    """
    count = len(graph.symbols)
    following: list[list[int] | None] = [None] * count
    hanging: list[list[tuple[str, int]] | None] = [None] * count
    held = [False] * count
    for relation in graph.relations:
        child = relation.object
        if held[child]:
            continue
        held[child] = True
        if relation.name == "Right":
            table = following[relation.subject]
            if table is None:
                following[relation.subject] = [child]
            else:
                table.append(child)
        else:
            places, name = hanging[relation.subject], relation.name
            if is_limit_operator(graph.symbols[relation.subject]):
                name = _AS_LIMIT.get(name, name)
            if places is None:
                hanging[relation.subject] = [(name, child)]
            else:
                places.append((name, child))

    rows = [Row(-1, -1, "", [])]
    hung: list[dict[str, int] | None] = [None] * count
    placed = [False] * count
    starts = [symbol for symbol in range(count) if not held[symbol]]
    finished, search = 0, 0
    while True:
        main = rows[0].symbols
        before = len(main)
        _extend(main, starts, following, placed)
        _hang(rows, 0, main[before:], hanging, hung, placed)
        finished = max(finished, 1)
        while finished < len(rows):
            row = rows[finished]
            firsts, row.symbols = row.symbols, []
            _extend(row.symbols, firsts, following, placed)
            _hang(rows, finished, row.symbols, hanging, hung, placed)
            finished += 1
        # What no root leads to stands in circles.
        while search < count and placed[search]:
            search += 1
        if search == count:
            return rows, hung
        starts = [search]


def _extend(symbols: list[int], starts: list[int], following: list[list[int] | None], placed: list[bool]) -> None:
    """Appends the chains of symbols that begin at ``starts``."""
    waiting = starts[::-1]
    while waiting:
        symbol = waiting.pop()
        if placed[symbol]:
            continue
        placed[symbol] = True
        symbols.append(symbol)
        after = following[symbol]
        if after is not None:
            waiting.extend(after[::-1] if len(after) > 1 else after)


def _hang(
    rows: list[Row],
    number: int,
    symbols: list[int],
    hanging: list[list[tuple[str, int]] | None],
    hung: list[dict[str, int] | None],
    placed: list[bool],
) -> None:
    """Opens the rows that hang on ``symbols``, each with the first symbols of its chains."""
    for symbol in symbols:
        places = hanging[symbol]
        if places is None:
            continue
        around: dict[str, int] = {}
        for name, child in places:
            if placed[child]:
                continue  # the circle's beginning
            if name in around:
                rows[around[name]].symbols.append(child)
            else:
                around[name] = len(rows)
                rows.append(Row(symbol, number, name, [child]))
        hung[symbol] = around or None


def bracket_pairs(labels: list[str]) -> list[tuple[int, int]]:
    """``(first, last)`` positions of the bracket pairs of a row, inner pairs first; bars ``|`` pair up in turn."""
    pairs: list[tuple[int, int]] = []
    opened: list[int] = []
    for position, label in enumerate(labels):
        if label in OPENING:
            opened.append(position)
        elif label in CLOSING:
            while opened:
                first = opened.pop()
                if labels[first] != "|":
                    pairs.append((first, position))
                    break
        elif label == "|":
            if opened and labels[opened[-1]] == "|":
                pairs.append((opened.pop(), position))
            else:
                opened.append(position)
    return pairs
