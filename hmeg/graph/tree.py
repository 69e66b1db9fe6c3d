"""Symbol graphs seen as trees: order of a walk, equality whatever the node order, text for people."""

from __future__ import annotations

from hashlib import blake2b

from .symbol_graph import SymbolGraph
from .vocabulary import RELATIONS

# Order in which what hangs on a symbol is visited; the rest of the row comes last.
VISIT_ORDER = (*(name for name in RELATIONS if name != "Right"), "Right")


class NotATreeError(ValueError):
    """A graph with a symbol that has two parents, or with a cycle."""


def children_of(graph: SymbolGraph) -> list[list[tuple[str, int]]]:
    """For every symbol its ``(relation, row)`` children in visiting order. Raises NotATreeError for two parents."""
    children: list[list[tuple[str, int]]] = [[] for _ in graph.symbols]
    parent: dict[int, int] = {}
    for relation in graph.relations:
        if relation.object in parent:
            raise NotATreeError(
                f"symbol {relation.object} ({graph.symbols[relation.object]}) hangs on both symbol "
                f"{parent[relation.object]} and symbol {relation.subject}"
            )
        parent[relation.object] = relation.subject
        children[relation.subject].append((relation.name, relation.object))
    for hanging in children:
        hanging.sort(key=lambda child: VISIT_ORDER.index(child[0]))
    return children


def roots_of(graph: SymbolGraph) -> list[int]:
    """Rows of the symbols that nothing holds, ascending: one for an expression, more for a forest."""
    held = {relation.object for relation in graph.relations}
    return [row for row in range(len(graph)) if row not in held]


def walk(graph: SymbolGraph) -> list[tuple[int, str, int | None]]:
    """Every symbol once, parents first: ``(row, relation to its parent or "", parent or None)``.

    Raises NotATreeError when the graph is no forest.
    """
    children = children_of(graph)
    steps: list[tuple[int, str, int | None]] = []
    stack: list[tuple[int, str, int | None]] = [(row, "", None) for row in reversed(roots_of(graph))]
    while stack:
        step = stack.pop()
        steps.append(step)
        stack.extend((row, name, step[0]) for name, row in reversed(children[step[0]]))
    if len(steps) != len(graph):
        raise NotATreeError("the relations run in a circle")
    return steps


def canonical_form(graph: SymbolGraph) -> tuple[str, ...]:
    """Digests that are equal for two graphs when they are the same labelled forest, whatever the order of nodes.

    Raises NotATreeError when the graph is no forest.
    """
    children = children_of(graph)
    # A digest a subtree, from the leaves up: deep trees cost neither recursion nor quadratic memory.
    digest: dict[int, str] = {}
    for row, _, _ in reversed(walk(graph)):
        parts = sorted(f"{name} {digest[child]}" for name, child in children[row])
        digest[row] = blake2b(f"{graph.symbols[row]}({';'.join(parts)})".encode(), digest_size=16).hexdigest()
    return tuple(sorted(digest[row] for row in roots_of(graph)))


def same_graph(a: SymbolGraph, b: SymbolGraph) -> bool:
    """Whether two graphs have the same symbols and relations, whatever the order of their nodes."""
    return canonical_form(a) == canonical_form(b)


def tree_text(graph: SymbolGraph) -> str:
    """A drawing for people: a row goes down the page, what hangs on a symbol is indented under it.

    ``x^2+1`` is drawn as::

        x
          Sup: 2
        +
        1
    """
    lines: list[str] = []
    indents: dict[int, str] = {}
    for row, name, parent in walk(graph):
        if parent is None:
            indents[row], mark = "", ""
        elif name == "Right":
            indents[row], mark = indents[parent], ""
        else:
            indents[row], mark = indents[parent] + "  ", f"{name}: "
        # The symbols that follow on the same row stand under the first one, not under its relation's name.
        lines.append(f"{indents[row]}{mark}{graph.symbols[row]}")
        if mark:
            indents[row] += " " * len(mark)
    return "\n".join(lines) + "\n"
