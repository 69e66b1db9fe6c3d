"""Many expressions as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmeg.graph import SymbolGraph
from hmeg.graph.typeset import typeset as typeset_boxes
from hmeg.graph.vocabulary import Vocabulary
from hmeg.ops.edge_structure import EdgeStructure, edge_structure


@dataclass
class GraphBatch:
    """Many expressions as tensors; every expression's graph is complete (self-pairs included).

    symbols (V,) int64 · edge_index (2, E) int64 · edge_type (E,) int64 · batch (V,) int64 non-decreasing ·
    boxes (V, 4) float32 in [0, 1] or None · typeset_boxes (V, 4) float32 or None: where a rule-based typesetter would
    put the symbols (:mod:`hmeg.graph.typeset`) · num_graphs int. Edges of an expression are contiguous, ordered by
    subject, then object. structure: :func:`hmeg.ops.edge_structure` of the edges, made by ``to`` on the way from the
    CPU to another device, where kernels read it.
    """

    symbols: Tensor
    edge_index: Tensor
    edge_type: Tensor
    batch: Tensor
    num_graphs: int
    boxes: Tensor | None = None
    typeset_boxes: Tensor | None = None
    structure: EdgeStructure | None = None

    @classmethod
    def from_graphs(
        cls, graphs: Sequence[SymbolGraph], typeset: bool = False, vocabulary: Vocabulary | None = None
    ) -> GraphBatch:
        """Batch of complete graphs. Boxes are kept when every graph has them. ``ValueError`` if a graph is empty or
        has a symbol that is not in the vocabulary.

        vocabulary  which symbols have which ids; None: CROHME's 101 symbols
        typeset  also compute ``typeset_boxes``, for models that start from them (``config.layout.prior``)
        """
        for i, g in enumerate(graphs):
            if not len(g):
                raise ValueError(f"graph {i} has no symbols")
        return cls.from_arrays(
            [g.symbol_ids(vocabulary) for g in graphs],
            [g.edge_type_matrix() for g in graphs],
            [g.boxes for g in graphs if g.boxes is not None] or None,
            [typeset_boxes(g, vocabulary) for g in graphs] if typeset else None,
        )

    @classmethod
    def from_arrays(
        cls,
        symbol_ids: Sequence[np.ndarray],
        edge_type_matrices: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray] | None = None,
        typeset_boxes: Sequence[np.ndarray] | None = None,
    ) -> GraphBatch:
        """Batch from per-expression arrays: (V_i,) class ids, (V_i, V_i) edge types, (V_i, 4) boxes of both kinds."""
        sizes = np.array([len(s) for s in symbol_ids], dtype=np.int64)
        offsets = np.cumsum(sizes) - sizes
        edges_of = sizes * sizes
        first_edge = np.cumsum(edges_of) - edges_of
        local = np.arange(edges_of.sum()) - np.repeat(first_edge, edges_of)
        width, base = np.repeat(sizes, edges_of), np.repeat(offsets, edges_of)
        edge_index = np.stack([base + local // width, base + local % width]) if len(sizes) else np.zeros((2, 0))

        def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
            return np.concatenate([np.ravel(a) for a in arrays]) if len(arrays) else np.zeros(0)

        def joined_boxes(arrays: Sequence[np.ndarray] | None) -> Tensor | None:
            if not arrays or len(arrays) != len(sizes):
                return None
            return torch.from_numpy(joined(arrays).astype(np.float32).reshape(-1, 4))

        return cls(
            symbols=torch.from_numpy(joined(symbol_ids).astype(np.int64)),
            edge_index=torch.from_numpy(edge_index.astype(np.int64)),
            edge_type=torch.from_numpy(joined(edge_type_matrices).astype(np.int64)),
            batch=torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
            num_graphs=len(sizes),
            boxes=joined_boxes(boxes),
            typeset_boxes=joined_boxes(typeset_boxes),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> GraphBatch:
        """The same batch on another device."""
        moved: dict[str, Any] = {
            entry.name: value.to(device, non_blocking=non_blocking)
            for entry in fields(self)
            if isinstance(value := getattr(self, entry.name), (Tensor, EdgeStructure))
        }
        if self.structure is None and torch.device(device).type != "cpu":
            structure = edge_structure(self.edge_index, len(self.symbols))
            moved["structure"] = structure.to(device, non_blocking=non_blocking)
        return replace(self, **moved)
