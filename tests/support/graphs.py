"""Expressions of one, nine and sixty-four symbols."""

from __future__ import annotations

from hmeg.graph import Relation, SymbolGraph
from hmeg.graph.latex import parse_latex

ROW_OF_64 = SymbolGraph(("x", "2", "+", "y") * 16, tuple(Relation(i, i + 1, "Right") for i in range(63)))
NINE = parse_latex(r"\frac{a+b}{c-d} = e")
GRAPHS = [parse_latex("x"), NINE, ROW_OF_64]
assert [len(graph) for graph in GRAPHS] == [1, 9, 64]
