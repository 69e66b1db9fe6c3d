"""A symbol graph as a reader sees it: baselines of symbols, each symbol with baselines around it; and as LaTeX."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

from .latex_macros import BRACES, UNDER_MARKS
from .symbol_graph import Relation, SymbolGraph
from .tree import NotATreeError, children_of, roots_of
from .vocabulary import Vocabulary


@dataclass(slots=True)
class SymbolNode:
    """One symbol and the baselines that hang on it, by relation (Sub, Sup, Above, Below, Inside)."""

    label: str
    around: dict[str, Baseline] = field(default_factory=dict)

    @property
    def is_fraction_bar(self) -> bool:
        return self.label == "-" and "Above" in self.around and "Below" in self.around


Baseline = list[SymbolNode]  # symbols from left to right, each Right of the one before


@functools.cache
def is_limit_operator(label: str) -> bool:
    """Whether a symbol takes scripts below and above when nothing else is said: a sum, a limit."""
    return label == r"\lim" or Vocabulary.open().kind_of(label) == "large"


@functools.cache
def _kind(label: str) -> str | None:
    return Vocabulary.open().kind_of(label)


# In which order what hangs on a symbol is read: index before radicand, numerator before denominator.
_READING = ("Inside", "Below", "Above", "Sub", "Sup")
_READING_OF_FRAMES = ("Above", "Inside", "Below", "Sub", "Sup")


def graph_of(baseline: Baseline, latex: str | None = None) -> SymbolGraph:
    """The graph of a main baseline, symbols in reading order: a symbol, what hangs on it, the rest of its row."""
    symbols: list[str] = []
    relations: list[Relation] = []
    waiting: list[tuple[Baseline, int, int, str]] = [(baseline, 0, -1, "")]
    while waiting:
        row, at, parent, relation = waiting.pop()
        node = row[at]
        number = len(symbols)
        symbols.append(node.label)
        if parent >= 0:
            relations.append(Relation(parent, number, relation))
        if at + 1 < len(row):
            waiting.append((row, at + 1, number, "Right"))
        if node.around:
            order = _READING_OF_FRAMES if node.is_fraction_bar or node.label == r"\sqrt" else _READING
            waiting.extend((node.around[name], 0, number, name) for name in reversed(order) if name in node.around)
    return SymbolGraph(tuple(symbols), tuple(relations), latex=latex)


def baseline_from(graph: SymbolGraph) -> Baseline:
    """The main baseline of ``graph``.

    ``ValueError`` when it has none: an empty graph, several roots, a circle, a symbol that hangs on two others, or two
    symbols in the same relation to a third.
    """
    children, roots = children_of(graph), roots_of(graph)
    if len(roots) != 1:
        raise ValueError(f"an expression has one first symbol, this graph of {len(graph)} symbols has {len(roots)}")
    main: Baseline = []
    open_baselines = [(main, roots[0])]
    visited = 0
    while open_baselines:
        baseline, row = open_baselines.pop()
        following: int | None = row
        while following is not None:
            node = SymbolNode(graph.symbols[following])
            baseline.append(node)
            visited += 1
            hanging, following = children[following], None
            for name, child in hanging:
                if name == "Right" and following is None:
                    following = child
                elif name not in node.around and name != "Right":
                    node.around[name] = []
                    open_baselines.append((node.around[name], child))
                else:
                    raise ValueError(f"two symbols stand {name} of symbol {node.label}")
    if visited != len(graph):
        raise NotATreeError("the relations run in a circle")
    return main


def to_latex(baseline: Baseline) -> str:
    """LaTeX tokens, separated by spaces, that :func:`hmeg.graph.latex.parse_latex` reads as ``baseline`` again.

    ``ValueError`` for arrangements LaTeX has no tokens for (something Inside a symbol that is no frame, a sum with
    scripts both under it and to its right), and for what is nested too deep.
    """
    try:
        tokens: list[str] = []
        _write(baseline, tokens)
        return " ".join(tokens)
    except RecursionError:
        raise ValueError("nested too deep to be written as LaTeX") from None


def _write(baseline: Baseline, tokens: list[str]) -> None:
    at = 0
    while at < len(baseline):
        node = baseline[at]
        if node.label == "&":
            at = _write_array(baseline, at, tokens)
            continue
        if node.around:
            _write_with_rows(node, tokens)
        elif _kind(node.label) == "accent":
            raise ValueError(f"LaTeX has no {node.label} with nothing at it")
        else:
            tokens.extend(_spelling(node.label))
        at += 1


def _braced(baseline: Baseline, tokens: list[str]) -> None:
    tokens.append("{")
    _write(baseline, tokens)
    tokens.append("}")


@functools.cache
def _spelling(label: str) -> tuple[str, ...]:
    """The tokens of a symbol: ``\\mathcal{L}`` has four."""
    return tuple(re.findall(r"\\[A-Za-z]+|\\.|[^\s\\]", label))


def _write_with_rows(node: SymbolNode, tokens: list[str]) -> None:
    label, kind, around = node.label, _kind(node.label), dict(node.around)
    if kind == "accent":
        _write_mark(label, around, tokens)
    elif is_limit_operator(label) or kind == "integral":
        _write_operator(label, around, tokens)
        return
    else:
        own: list[str] = []
        if node.is_fraction_bar:
            own.append(r"\frac")
            _braced(around.pop("Above"), own)
            _braced(around.pop("Below"), own)
        elif label == r"\sqrt":
            own.append(label)
            if "Above" in around:
                own.append("[")
                _braced(around.pop("Above"), own)
                own.append("]")
            _braced(around.pop("Inside", []), own)
        elif label in _FRAME_MACROS and "Inside" in around:
            own.append(_FRAME_MACROS[label])
            _braced(around.pop("Inside"), own)
        else:
            own.extend(_spelling(label))
        _write_over_and_under(own, around, tokens)
    _write_scripts(label, around, tokens)


_FRAME_MACROS = {r"\bigcirc": r"\textcircled", r"\square": r"\boxed"}


def _write_over_and_under(own: list[str], around: dict[str, Baseline], tokens: list[str]) -> None:
    """What stands over and under a symbol that is no operator with limits."""
    closing = 0
    for relation, macro in (("Above", r"\overset"), ("Below", r"\underset")):
        if relation in around:
            tokens.append(macro)
            _braced(around.pop(relation), tokens)
            tokens.append("{")
            closing += 1
    tokens.extend(own)
    tokens.extend("}" * closing)


def _write_mark(label: str, around: dict[str, Baseline], tokens: list[str]) -> None:
    """A mark over or under what hangs on it; a brace has its script on the other side."""
    side = "Above" if label in UNDER_MARKS else "Below"
    if side not in around:
        raise ValueError(f"LaTeX has no {label} with nothing at it")
    own = [label]
    _braced(around.pop(side), own)
    script = around.pop(BRACES[label], None) if label in BRACES else None
    if script is not None and around:
        raise ValueError(f"LaTeX has nothing to put {' and '.join(sorted(around))} of symbol {label}")
    if script is None:
        _write_over_and_under(own, around, tokens)
        return
    tokens.extend(own)
    tokens.append("^" if BRACES[label] == "Above" else "_")
    _braced(script, tokens)


def _write_operator(label: str, around: dict[str, Baseline], tokens: list[str]) -> None:
    tokens.append(label)
    if around.keys() <= {"Sub", "Sup"}:
        if is_limit_operator(label):
            tokens.append(r"\nolimits")
    elif around.keys() <= {"Below", "Above"}:
        if not is_limit_operator(label):
            tokens.append(r"\limits")
    else:
        raise ValueError(f"LaTeX has nothing to put {' and '.join(sorted(around))} of symbol {label}")
    for name, mark in (("Sub", "_"), ("Below", "_"), ("Sup", "^"), ("Above", "^")):
        if name in around:
            tokens.append(mark)
            _braced(around[name], tokens)


def _write_scripts(label: str, around: dict[str, Baseline], tokens: list[str]) -> None:
    if not around.keys() <= {"Sub", "Sup"}:
        raise ValueError(f"LaTeX has nothing to put {' and '.join(sorted(around))} of symbol {label}")
    for name, mark in (("Sub", "_"), ("Sup", "^")):
        if name in around:
            tokens.append(mark)
            _braced(around[name], tokens)


def _write_array(baseline: Baseline, at: int, tokens: list[str]) -> int:
    """The array whose first cell stands at ``at``; where the baseline goes on after it."""
    end = at + 1
    while end < len(baseline) and baseline[end].label == "&" and "Below" not in baseline[end].around:
        end += 1
    rows = [baseline[at:end]]
    while (below := rows[-1][0].around.get("Below")) is not None:
        rows.append(below)
    if len(rows) == 1:
        raise ValueError("LaTeX has no array of one row")
    tokens.append(r"\begin{matrix}")
    for number, row in enumerate(rows):
        if number:
            tokens.append("\\\\")
        for column, cell in enumerate(row):
            if column:
                tokens.append("&")
            own = {"Inside", "Below"} if column == 0 else {"Inside"}
            if cell.label != "&" or not cell.around.keys() <= own:
                raise ValueError("LaTeX has no array whose rows hold anything but cells")
            _write(cell.around.get("Inside", []), tokens)
    tokens.append(r"\end{matrix}")
    return end
