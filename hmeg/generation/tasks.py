"""Expressions as tasks: what is drawn, and what its noise is drawn from. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hmeg.graph import SymbolGraph
from hmeg.graph.baselines import baseline_from, to_latex
from hmeg.graph.latex import parse_latex
from hmeg.graph.latex_source import MAX_SYMBOLS
from hmeg.graph.vocabulary import Vocabulary


@dataclass(frozen=True)
class Task:
    """One sample to be drawn: an expression, the index its noise is drawn from, its line in the input file and
    the name that this line gives it, if any."""

    index: int
    graph: SymbolGraph
    line: int | None = None
    name: str | None = None


def as_graph(expression: str | SymbolGraph, known: Vocabulary | None = None) -> SymbolGraph:
    """The symbol graph of an expression; ``ValueError`` if it is no LaTeX, empty or too long.

    known  the vocabulary to read with; None: the open one
    """
    # a line of a file brings its end along, which is no part of the expression
    graph = parse_latex(expression.rstrip("\r\n"), known=known) if isinstance(expression, str) else expression
    if not isinstance(graph, SymbolGraph):
        raise TypeError(f"an expression is LaTeX text or a SymbolGraph, got {type(graph).__name__}")
    if not len(graph):
        raise ValueError("the expression has no symbols")
    if len(graph) > MAX_SYMBOLS:
        raise ValueError(f"the expression has {len(graph)} symbols; at most {MAX_SYMBOLS} can be drawn")
    if graph.boxes is not None and not np.isfinite(graph.boxes).all():
        raise ValueError("the expression has boxes that are not finite")
    return graph


def check_symbols(graph: SymbolGraph, known: Vocabulary | None = None, who: str = "these weights") -> None:
    """``ValueError`` that names the symbols which ``who``, knowing the vocabulary ``known``, cannot draw.

    known  None: CROHME's 101 symbols, what all published weights know
    """
    (known or Vocabulary.crohme()).require(graph.symbols, who)


def vocabulary_of(metadata: Mapping[str, str]) -> Vocabulary:
    """The symbols that weights know: those of the table in their metadata, or CROHME's where there is none."""
    table = metadata.get("vocabulary")
    return Vocabulary.crohme() if table is None else Vocabulary.from_table(table, "the weights' vocabulary")


def repeated(graphs: Iterable[SymbolGraph], count: int) -> Iterator[Task]:
    """``count`` tasks for every graph: task k of graph g has index ``g * count + k``. ``ValueError`` if count < 1."""
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    return (Task(g * count + k, graph) for g, graph in enumerate(graphs) for k in range(count))


def latex_of(graph: SymbolGraph) -> str | None:
    """The LaTeX a graph came from, or LaTeX tokens made from it; None for a graph that LaTeX cannot write."""
    if graph.latex is not None:
        return graph.latex
    try:
        return to_latex(baseline_from(graph))
    except ValueError:
        return None
