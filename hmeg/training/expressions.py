"""Expressions that batches are made of: those of a data set, and those nobody has written down."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hmeg.data.crohme import CrohmeDataset
from hmeg.generation.inputs import from_arguments, from_file, tasks
from hmeg.graph import SymbolGraph
from hmeg.graph.grammar import Grammar
from hmeg.graph.typeset import typeset
from hmeg.model.graph_batch import GraphBatch

from .settings import GRAMMAR

GRAMMAR_EXPRESSIONS = 1 << 14  # different ones drawn from the grammar in the course of a run


@dataclass
class _Arrays:
    symbols: np.ndarray
    edges: np.ndarray
    boxes: np.ndarray | None
    typeset_boxes: np.ndarray | None

    @classmethod
    def of(cls, graph: SymbolGraph, with_typeset: bool) -> _Arrays:
        boxes = typeset(graph) if with_typeset else None
        return cls(graph.symbol_ids(), graph.edge_type_matrix(), graph.boxes, boxes)


class Expressions:
    """Graphs as small arrays, made once: a layout step is so short that building them again would dominate it."""

    def __init__(self, graphs: Sequence[SymbolGraph], with_typeset: bool) -> None:
        self._arrays = [_Arrays.of(graph, with_typeset) for graph in graphs]

    def __len__(self) -> int:
        return len(self._arrays)

    def batch(self, rows: np.ndarray) -> GraphBatch:
        """The graphs of these rows, on the CPU."""
        return _batch([self._arrays[int(row)] for row in rows])


class UnpairedExpressions:
    """Expressions without handwriting: lines of LaTeX from a file, or drawn from the grammar when first asked for.

    source       ``grammar``, or a file's name
    max_symbols  longer ones are left out
    Lines that are no expression are left out too, and counted on stderr; ValueError if none is left.
    """

    def __init__(self, source: str, max_symbols: int, seed: int, with_typeset: bool) -> None:
        self._max_symbols, self._seed, self._with_typeset = max_symbols, seed, with_typeset
        self._arrays: dict[int, _Arrays] = {}
        self.digest = GRAMMAR
        self._count = GRAMMAR_EXPRESSIONS
        if source != GRAMMAR:
            self._read(Path(source))

    def __len__(self) -> int:
        return self._count

    def batch(self, rows: np.ndarray) -> GraphBatch:
        """The graphs of these rows, on the CPU."""
        return _batch([self._row(int(row)) for row in rows])

    def _row(self, row: int) -> _Arrays:
        if row not in self._arrays:
            latex = Grammar.crohme().draw(self._seed, row, self._max_symbols)
            (task,) = tasks(from_arguments([latex]), 1, _unexpected)
            self._arrays[row] = _Arrays.of(task.graph, self._with_typeset)
        return self._arrays[row]

    def _read(self, path: Path) -> None:
        left_out: list[str] = []
        try:
            self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
            with open(path, "rb") as file:
                found = tasks(
                    from_file(file), 1, lambda entry, problem: left_out.append(f"line {entry.line}: {problem}")
                )
                graphs = [(task.line, task.graph) for task in found]
        except OSError as error:
            wanted = f"give a file of LaTeX lines, or {GRAMMAR}"
            raise ValueError(f"--unpaired {path}: {error.strerror}; {wanted}") from error
        long = [f"line {line}: {len(g)} symbols" for line, g in graphs if len(g) > self._max_symbols]
        kept = [graph for _, graph in graphs if len(graph) <= self._max_symbols]
        if left_out or long:
            first = (left_out + long)[0]
            print(f"{path}: {len(left_out) + len(long)} lines left out ({first})", file=sys.stderr)
        if not kept:
            raise ValueError(f"--unpaired {path} holds no expression of at most {self._max_symbols} symbols")
        self._arrays = {row: _Arrays.of(graph, self._with_typeset) for row, graph in enumerate(kept)}
        self._count = len(kept)


def dataset_digest(dataset: CrohmeDataset) -> str:
    """A digest of what a prepared folder says of itself: settings, expressions, graphs and boxes."""
    settings = json.loads((dataset.folder / "dataset.json").read_text())
    manifest = (dataset.folder / "graphs.jsonl").read_bytes()
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + manifest).hexdigest()


def _unexpected(entry: object, problem: str) -> None:
    raise AssertionError(f"the grammar drew what cannot be read: {entry}: {problem}")


def _batch(rows: Sequence[_Arrays]) -> GraphBatch:
    return GraphBatch.from_arrays(
        [row.symbols for row in rows],
        [row.edges for row in rows],
        [row.boxes for row in rows if row.boxes is not None] or None,
        [row.typeset_boxes for row in rows if row.typeset_boxes is not None] or None,
    )
