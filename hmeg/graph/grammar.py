"""Random expressions with CROHME's own statistics.

A probabilistic grammar over baselines: item after item, is there another one, of which category, which symbol, what
hangs on it; every decision by the relative frequencies CROHME's training expressions show in the same situation,
smoothed towards coarser situations. Brackets are drawn as pairs, names (letters) tend to be used again. The counts
lie in ``grammar_statistics.json``, made by ``python -m tools.grammar_statistics``.
"""

from __future__ import annotations

import functools
import importlib.resources
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hmeg.streams import Purpose, stream

from .baselines import to_latex
from .grammar_items import NAMES, Item, Situation, baseline_of, context_of, recurrence, use_name

STATISTICS_FILE = "grammar_statistics.json"
DEFAULT_MAX_SYMBOLS = 50

# How many observations the coarser situation is worth when the finer one is estimated.
_SMOOTHING = 2.0
_MAX_ATTEMPTS = 100_000

Key = tuple[str, ...]


class Table:
    """Conditional frequencies of one decision, with every coarser condition (a key without its first entries).

    A condition never seen has the frequencies of the next coarser one, at the last those of everything counted.
    """

    def __init__(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """``counts``: condition entries joined by tabs -> outcome -> how often."""
        self._levels: list[dict[Key, dict[str, int]]] = [{(): {}}]  # by length of the condition
        for joined in sorted(counts):
            key = tuple(joined.split("\t"))
            while len(self._levels) <= len(key):
                self._levels.append({})
            for drop in range(len(key) + 1):
                outcomes = self._levels[len(key) - drop].setdefault(key[drop:], {})
                for outcome, count in counts[joined].items():
                    outcomes[outcome] = outcomes.get(outcome, 0) + count
        self._cache: dict[Key, dict[str, float]] = {}

    def probabilities(self, key: Key) -> dict[str, float]:
        """outcome -> probability under ``key``; outcomes in sorted order; nothing where nothing was counted."""
        if key not in self._cache:
            self._cache[key] = self._smoothed(key)
        return self._cache[key]

    def _smoothed(self, key: Key) -> dict[str, float]:
        observed = self._levels[len(key)].get(key) if len(key) < len(self._levels) else None
        if len(key) <= 1 and observed is not None:
            # Not smoothed any further: the last entry of a condition decides which outcomes make sense.
            observations = sum(observed.values())
            return {outcome: observed[outcome] / observations for outcome in sorted(observed)}
        coarser = self.probabilities(key[1:])
        if observed is None:
            return coarser
        total = sum(observed.values()) + _SMOOTHING
        return {outcome: (observed.get(outcome, 0) + _SMOOTHING * p) / total for outcome, p in coarser.items()}


class _TooLong(Exception):
    """The expression being drawn has outgrown its limit."""


@dataclass
class _Drawing:
    """What one expression shares between its baselines while it is drawn."""

    rng: np.random.Generator
    room: int
    names: list[str] = field(default_factory=list)  # used so far, the most recent last

    def choose(self, weights: dict[str, float]) -> str:
        threshold = self.rng.random() * sum(weights.values())
        for outcome, weight in weights.items():
            threshold -= weight
            if threshold < 0:
                return outcome
        return next(reversed(weights))  # rounding can leave a crumb of the threshold

    def take(self, symbols: int) -> None:
        self.room -= symbols
        if self.room < 0:
            raise _TooLong


class Grammar:
    """Draws expressions from counted statistics."""

    def __init__(self, statistics: Mapping[str, Any]) -> None:
        """``statistics``: the object ``python -m tools.grammar_statistics`` writes."""
        self.statistics = statistics
        tables = statistics["tables"]
        self._end, self._category, self._label, self._around, self._repeat = (
            Table(tables[name]) for name in ("end", "category", "label", "around", "repeat")
        )

    @classmethod
    @functools.cache
    def crohme(cls) -> Grammar:
        """The grammar of CROHME's training expressions, from the counts bundled with the package."""
        text = importlib.resources.files(__package__).joinpath(STATISTICS_FILE).read_text(encoding="utf-8")
        return cls(json.loads(text))

    def draw(self, seed: int, index: int, max_symbols: int = DEFAULT_MAX_SYMBOLS) -> str:
        """Expression ``index`` of ``seed`` as LaTeX tokens separated by spaces; at most ``max_symbols`` symbols.

        Longer drawings are thrown away and drawn anew. ``ValueError`` for ``max_symbols`` < 1, or when no expression
        that short turns up.
        """
        if max_symbols < 1:
            raise ValueError(f"max_symbols must be at least 1, got {max_symbols}")
        rng = stream(seed, index, Purpose.EXPRESSION)
        for _ in range(_MAX_ATTEMPTS):
            try:
                items = self._baseline(_Drawing(rng, max_symbols), "main")
            except _TooLong:
                continue
            return to_latex(baseline_of(items))
        raise ValueError(f"the grammar drew no expression of at most {max_symbols} symbols")

    def expressions(self, seed: int, max_symbols: int = DEFAULT_MAX_SYMBOLS) -> Iterator[str]:
        """Expressions 0, 1, 2, ... of ``seed``, without end."""
        return (self.draw(seed, index, max_symbols) for index in itertools.count())

    def _baseline(self, drawing: _Drawing, context: str) -> list[Item]:
        situation = Situation(context)
        items: list[Item] = []
        while not items or drawing.choose(self._end.probabilities(situation.end_key())) == "more":
            item = self._item(drawing, situation)
            items.append(item)
            situation = situation.after(item)
        return items

    def _item(self, drawing: _Drawing, situation: Situation) -> Item:
        category = drawing.choose(self._category.probabilities(situation.category_key()))
        label = self._label_of(drawing, situation, category)
        item = Item(category, label)
        drawing.take(2 if category == "group" else 1)
        if category == "group":
            item.content = self._baseline(drawing, f"group {label}")
        around = drawing.choose(self._around.probabilities(situation.around_key(item)))
        for relation in around.split():
            item.around[relation] = self._baseline(drawing, context_of(relation, item))
        return item

    def _label_of(self, drawing: _Drawing, situation: Situation, category: str) -> str:
        weights = self._label.probabilities(situation.label_key(category))
        if category != NAMES:
            return drawing.choose(weights)
        kinds = self._repeat.probabilities(situation.repeat_key(drawing.names))
        if drawing.names and kinds:
            kind = drawing.choose(kinds)
            weights = {label: p for label, p in weights.items() if recurrence(label, drawing.names) == kind} or weights
        label = drawing.choose(weights)
        use_name(label, drawing.names)
        return label
