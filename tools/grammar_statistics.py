"""Counts what the grammar of random expressions is made of.

    python -m tools.grammar_statistics SRC [--out FILE]

SRC is a folder or archive of InkML files (CROHME's training set). Only counts are kept, no expression.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

import hmeg.graph
from hmeg.graph.baselines import baseline_from
from hmeg.graph.grammar import STATISTICS_FILE
from hmeg.graph.grammar_items import NAMES, Item, Situation, context_of, items_of, recurrence, use_name
from hmeg.graph.symbol_graph import SymbolGraph
from tools.statistics_file import write_statistics


class Counts:
    """Frequencies of every decision the grammar takes, over the expressions added so far."""

    def __init__(self) -> None:
        self.expressions = 0
        self.irregular = 0
        self.symbols = 0
        self.relations: Counter[str] = Counter()
        self.tables: dict[str, dict[str, Counter[str]]] = {
            name: defaultdict(Counter) for name in ("end", "category", "label", "around", "repeat")
        }

    def add(self, graph: SymbolGraph) -> None:
        """Counts one expression; one that the grammar cannot describe only adds to ``irregular``."""
        try:
            items = items_of(baseline_from(graph))
        except ValueError:
            self.irregular += 1
            return
        self.expressions += 1
        self.symbols += len(graph)
        self.relations.update(relation.name for relation in graph.relations)
        self._baseline(items, "main", [])

    def to_json(self) -> dict[str, Any]:
        """Everything counted, keys in sorted order."""
        return {
            "expressions": self.expressions,
            "irregular": self.irregular,
            "symbols": self.symbols,
            "relations": dict(sorted(self.relations.items())),
            "tables": {
                name: {key: dict(sorted(table[key].items())) for key in sorted(table)}
                for name, table in self.tables.items()
            },
        }

    def _count(self, table: str, key: tuple[str, ...], outcome: str) -> None:
        self.tables[table]["\t".join(key)][outcome] += 1

    def _baseline(self, items: list[Item], context: str, names: list[str]) -> None:
        situation = Situation(context)
        for item in items:
            if situation.length:
                self._count("end", situation.end_key(), "more")
            self._item(item, situation, names)
            situation = situation.after(item)
        self._count("end", situation.end_key(), "end")

    def _item(self, item: Item, situation: Situation, names: list[str]) -> None:
        self._count("category", situation.category_key(), item.category)
        if item.category == NAMES:
            if names:
                self._count("repeat", situation.repeat_key(names), recurrence(item.label, names))
            use_name(item.label, names)
        self._count("label", situation.label_key(item.category), item.label)
        if item.content is not None:
            self._baseline(item.content, f"group {item.label}", names)
        self._count("around", situation.around_key(item), " ".join(sorted(item.around)))
        for relation in sorted(item.around):
            self._baseline(item.around[relation], context_of(relation, item), names)


def count_expressions(graphs: Iterable[SymbolGraph]) -> Counts:
    """Counts over ``graphs``."""
    counts = Counts()
    for graph in graphs:
        counts.add(graph)
    return counts


@click.command()
@click.argument("src", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(hmeg.graph.__file__).with_name(STATISTICS_FILE),
    show_default="the file in the package",
)
def main(src: Path, out: Path) -> None:
    """Count the expressions of SRC (a folder or archive of InkML) and write the grammar's statistics."""
    from hmeg.data.inkml import InkmlError, read_inkml
    from hmeg.data.sources import iter_files

    counts = Counts()
    unread = 0
    for name, data in iter_files(src, (".inkml",)):
        try:
            ink = read_inkml(data, name)
        except InkmlError as error:
            unread += 1
            click.echo(f"{name}: {error}", err=True)
            continue
        counts.add(ink.graph)
    if not counts.expressions:
        raise click.ClickException(f"no expression in {src}")
    write_statistics(out, counts.to_json())
    click.echo(f"{counts.expressions} expressions counted, {counts.irregular} irregular, {unread} unreadable -> {out}")


if __name__ == "__main__":
    main()
