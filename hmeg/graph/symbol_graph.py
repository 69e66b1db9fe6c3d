"""One expression as a symbol graph."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace

import numpy as np

from hmeg.quoting import quoted

from . import vocabulary


@functools.cache
def _may_be_a_name(label: str) -> bool:
    """One character, or a macro: what LaTeX takes for one sign."""
    if len(label) == 1:
        return label.isprintable() and not label.isspace()
    return len(label) > 1 and label[0] == "\\" and label.isprintable() and not any(c in " ,\u3000" for c in label)


@dataclass(frozen=True)
class Relation:
    """A forward relation ``subject -> object``: ``object`` stands ``name`` (e.g. Right) of ``subject``."""

    subject: int
    object: int
    name: str


@dataclass(frozen=True)
class SymbolGraph:
    """One expression: symbols and the forward relations between them (a tree in CROHME's conventions).

    symbols    names of symbols, e.g. ``("x", "2")``; ids come with the vocabulary of the weights that draw them
    relations  forward relations by row numbers into ``symbols``
    boxes      optional (V, 4) float array: x0, y0, x1, y1 in [0, 1] of the image, y down
    latex      the LaTeX it came from, when known
    Raises ValueError for a name that none can be (neither a character nor a macro), for a relation outside the six, for
    rows out of range.
    """

    symbols: tuple[str, ...]
    relations: tuple[Relation, ...] = ()
    boxes: np.ndarray | None = field(default=None, compare=False)
    latex: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for label in self.symbols:
            if not _may_be_a_name(label):
                raise ValueError(f"{quoted(label)} is no name of a symbol")
        pairs = set()
        for relation in self.relations:
            vocabulary.relation_type(relation.name)
            for row in (relation.subject, relation.object):
                if not 0 <= row < len(self.symbols):
                    raise ValueError(f"relation {relation} names row {row} of {len(self.symbols)} symbols")
            pair = (relation.subject, relation.object)
            if relation.subject == relation.object:
                raise ValueError(f"relation {relation} relates a symbol to itself")
            if pair in pairs or pair[::-1] in pairs:
                raise ValueError(f"rows {pair} are related more than once")
            pairs.add(pair)
        if self.boxes is not None and np.shape(self.boxes) != (len(self.symbols), 4):
            raise ValueError(f"boxes must be ({len(self.symbols)}, 4), got {np.shape(self.boxes)}")

    def __len__(self) -> int:
        return len(self.symbols)

    def with_boxes(self, boxes: np.ndarray) -> SymbolGraph:
        """The same graph with other boxes."""
        return replace(self, boxes=boxes)

    def symbol_ids(self, known: vocabulary.Vocabulary | None = None) -> np.ndarray:
        """(V,) int64 class ids, from 1, in the vocabulary ``known`` (None: CROHME's 101 symbols).

        ``ValueError`` for a symbol outside it.
        """
        known = known or vocabulary.Vocabulary.crohme()
        return np.array([known.id_of(s) for s in self.symbols], dtype=np.int64)

    def edge_type_matrix(self) -> np.ndarray:
        """(V, V) int64: edge type from row (subject) to column (object); inverses filled in, 0 elsewhere."""
        matrix = np.zeros((len(self), len(self)), dtype=np.int64)
        for r in self.relations:
            kind = vocabulary.relation_type(r.name)
            matrix[r.subject, r.object] = kind
            matrix[r.object, r.subject] = kind + 1
        return matrix
