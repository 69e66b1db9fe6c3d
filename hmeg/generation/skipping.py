"""What becomes of expressions that cannot be drawn while others are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from hmeg.graph import SymbolGraph
from hmeg.graph.vocabulary import Vocabulary
from hmeg.quoting import quoted

from .tasks import Task, as_graph, check_symbols

# Called with the position of an expression, itself, and why it cannot be drawn.
Handler = Callable[[int, "str | SymbolGraph", ValueError], object]
Check = Callable[[SymbolGraph], None]  # raises ValueError for a graph that cannot be drawn
OnError = Literal["raise", "skip"] | Handler


class SkippedExpression(UserWarning):
    """An expression was left out, because it cannot be drawn; the message says which, where and why."""


def drawable(
    expression: str | SymbolGraph, check: Check = check_symbols, known: Vocabulary | None = None
) -> SymbolGraph:
    """The graph of an expression; ``ValueError`` for one that cannot be read, or that ``check`` refuses."""
    graph = as_graph(expression, known)
    check(graph)
    return graph


def usable(
    position: int, expression: str | SymbolGraph, check: Check = check_symbols, known: Vocabulary | None = None
) -> SymbolGraph:
    """The graph of an expression; ``ValueError``, saying which it is, for one that cannot be drawn."""
    try:
        return drawable(expression, check, known)
    except ValueError as error:
        raise ValueError(f"expression {position}: {error}") from error


def handler_of(on_error: OnError) -> Handler | None:
    """What is called for an expression that cannot be drawn; None: it is raised. ``ValueError`` for other words."""
    if callable(on_error):
        return on_error
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise', 'skip' or a function, got {on_error!r}")
    return _warn if on_error == "skip" else None


def tasks_of(
    expressions: Iterable[str | SymbolGraph | Task],
    handler: Handler | None,
    check: Check = check_symbols,
    known: Vocabulary | None = None,
) -> Iterator[Task]:
    """A task for every expression that can be drawn, numbered by its position among all; tasks stay as they are."""
    for position, expression in enumerate(expressions):
        if isinstance(expression, Task):
            yield expression
            continue
        try:
            read = (
                drawable(expression, check, known)
                if handler is not None
                else usable(position, expression, check, known)
            )
            task = Task(position, read)
        except ValueError as error:
            if handler is None:
                raise
            handler(position, expression, error)
            continue
        yield task


def _warn(position: int, expression: str | SymbolGraph, error: ValueError) -> None:
    shown = f" ({quoted(expression)})" if isinstance(expression, str) else ""
    warnings.warn(f"expression {position}{shown} skipped: {error}", SkippedExpression, stacklevel=2)
