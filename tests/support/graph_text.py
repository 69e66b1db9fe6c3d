"""Graphs of LaTeX as one line of text, for tests to compare."""

from __future__ import annotations

from hmeg.graph.latex import parse_latex


def edges(text: str, **options: bool) -> str:
    """The graph in one line: relations as ``subject Relation object``, repeated symbols numbered."""
    graph = parse_latex(text, **options)
    names = [
        label if graph.symbols.count(label) == 1 else f"{label}{graph.symbols[: i + 1].count(label)}"
        for i, label in enumerate(graph.symbols)
    ]
    return ", ".join(f"{names[r.subject]} {r.name} {names[r.object]}" for r in graph.relations)
