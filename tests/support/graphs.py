"""Expressions of one, nine and sixty-four symbols; relations of a graph in words."""

from __future__ import annotations

from hmeg.graph import Relation, SymbolGraph
from hmeg.graph.latex import parse_latex

ROW_OF_64 = SymbolGraph(("x", "2", "+", "y") * 16, tuple(Relation(i, i + 1, "Right") for i in range(63)))
NINE = parse_latex(r"\frac{a+b}{c-d} = e")
GRAPHS = [parse_latex("x"), NINE, ROW_OF_64]
assert [len(graph) for graph in GRAPHS] == [1, 9, 64]


def edges(text: str, **options: bool) -> str:
    """The graph in one line: relations as ``subject Relation object``, repeated symbols numbered."""
    graph = parse_latex(text, **options)
    names = [
        label if graph.symbols.count(label) == 1 else f"{label}{graph.symbols[: i + 1].count(label)}"
        for i, label in enumerate(graph.symbols)
    ]
    return ", ".join(f"{names[r.subject]} {r.name} {names[r.object]}" for r in graph.relations)
