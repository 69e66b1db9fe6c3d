"""A symbol graph as a reader sees it: baselines of symbols, each symbol with baselines around it; and as LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .symbol_graph import SymbolGraph
from .tree import NotATreeError, children_of, roots_of


@dataclass
class SymbolNode:
    """One symbol and the baselines that hang on it, by relation (Sub, Sup, Above, Below, Inside)."""

    label: str
    around: dict[str, Baseline] = field(default_factory=dict)

    @property
    def is_fraction_bar(self) -> bool:
        return self.label == "-" and "Above" in self.around and "Below" in self.around


_LIMITS = ("\\sum", "\\lim")  # take scripts below and above when nothing else is said

Baseline = list[SymbolNode]  # symbols from left to right, each Right of the one before


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

    ``ValueError`` for arrangements LaTeX has no tokens for (something Inside a symbol that is no root, Above a letter),
    and for what is nested too deep.
    """
    try:
        return " ".join(_tokens(baseline))
    except RecursionError:
        raise ValueError("nested too deep to be written as LaTeX") from None


def _tokens(baseline: Baseline) -> Iterator[str]:
    for node in baseline:
        yield from _node_tokens(node)


def _braced(baseline: Baseline) -> Iterator[str]:
    yield "{"
    yield from _tokens(baseline)
    yield "}"


def _node_tokens(node: SymbolNode) -> Iterator[str]:
    around = dict(node.around)
    if node.is_fraction_bar:
        yield "\\frac"
        yield from _braced(around.pop("Above"))
        yield from _braced(around.pop("Below"))
    elif node.label == "\\sqrt":
        yield "\\sqrt"
        if "Above" in around:
            yield "["
            yield from _braced(around.pop("Above"))
            yield "]"
        yield from _braced(around.pop("Inside", []))
    else:
        yield node.label
    yield from _script_tokens(node.label, around)


def _script_tokens(label: str, around: dict[str, Baseline]) -> Iterator[str]:
    if not around:
        return
    if around.keys() <= {"Sub", "Sup"}:
        if label in _LIMITS:
            yield "\\nolimits"
    elif around.keys() <= {"Below", "Above"} and label in (*_LIMITS, "\\int"):
        if label not in _LIMITS:
            yield "\\limits"
    else:
        raise ValueError(f"LaTeX has nothing to put {' and '.join(sorted(around))} of symbol {label}")
    for name, mark in (("Sub", "_"), ("Below", "_"), ("Sup", "^"), ("Above", "^")):
        if name in around:
            yield mark
            yield from _braced(around[name])
