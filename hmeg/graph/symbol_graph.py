"""One expression as a symbol graph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from . import vocabulary


@dataclass(frozen=True)
class Relation:
    """A forward relation ``subject -> object``: ``object`` stands ``name`` (e.g. Right) of ``subject``."""

    subject: int
    object: int
    name: str


@dataclass(frozen=True)
class SymbolGraph:
    """One expression: symbols and the forward relations between them (a tree in CROHME's conventions).

    symbols    labels of the 101-symbol vocabulary, e.g. ``("x", "2")``
    relations  forward relations by row numbers into ``symbols``
    boxes      optional (V, 4) float array: x0, y0, x1, y1 in [0, 1] of the image, y down
    latex      the LaTeX it came from, when known
    Raises ValueError for a label or relation outside the vocabulary and for rows out of range.
    """

    symbols: tuple[str, ...]
    relations: tuple[Relation, ...] = ()
    boxes: np.ndarray | None = field(default=None, compare=False)
    latex: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for label in self.symbols:
            vocabulary.symbol_id(label)
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

    def symbol_ids(self) -> np.ndarray:
        """(V,) int64 class ids, 1..101."""
        return np.array([vocabulary.symbol_id(s) for s in self.symbols], dtype=np.int64)

    def edge_type_matrix(self) -> np.ndarray:
        """(V, V) int64: edge type from row (subject) to column (object); inverses filled in, 0 elsewhere."""
        matrix = np.zeros((len(self), len(self)), dtype=np.int64)
        for r in self.relations:
            kind = vocabulary.relation_type(r.name)
            matrix[r.subject, r.object] = kind
            matrix[r.object, r.subject] = kind + 1
        return matrix
