"""triple_message in Triton: a fused kernel forward; backward, kernels between cuBLAS's products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..base import accumulator
from ..edges import sign_words
from ..triple_message import Edges, TripleMessageOnGpu, linear_relu
from .launcher import Launcher


class TripleMessage(TripleMessageOnGpu, Launcher):
    def triple_message(
        self, x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor],
        w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
        return_edges: bool, keep: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        edges = self._edges(x, edge_attr, edge_index, edge_type, structure)
        (nodes, channels), (out, width) = x.shape, w4.shape
        own = edge_attr @ w1[:, channels : 2 * channels].T
        pieces_rows = self._kernels("triple_message").triple_message_pieces(edges.count, nodes, x.dtype)
        pieces = x.new_empty((pieces_rows, width), dtype=accumulator(x.dtype))
        pooled = x.new_empty((nodes, width))
        new_edge_attr = x.new_empty((edges.count if return_edges else 0, out))
        words = sign_words(width, out, return_edges)
        signs = x.new_empty((edges.count if keep else 0, words), dtype=torch.int32)
        self._kernels("triple_message").triple_message_forward(
            self._projected(x, w1, b1), own, edges.index, edges.type, _lists(edges), w2.contiguous(), b2.contiguous(),
            pieces, pooled, new_edge_attr if return_edges else None, signs if keep else None, pooling == "avg",
            torch.backends.cuda.matmul.allow_tf32,
        )  # fmt: skip
        new_x = linear_relu(linear_relu(pooled, w3, b3), w4, b4)
        return new_x, new_edge_attr, pooled if keep else pooled.new_empty((0, width)), signs

    def _hidden(self, projected: Tensor, table: Tensor | None, edges: Edges, first: int, hidden: Tensor) -> None:
        self._kernels("triple_message").triple_message_hidden(projected, table, edges.index, edges.type, hidden, first)

    def _grad_products(
        self, signs: Tensor, grad_pooled: Tensor, grad_edges: Tensor, edges: Edges, first: int, grad_products: Tensor
    ) -> None:
        self._kernels("triple_message").triple_message_grad_products(
            signs, grad_pooled, grad_edges, edges.index, grad_products, first
        )

    def _collect(self, rows: Tensor, edges: Edges, first: int, carried: Tensor, collected: Tensor) -> None:
        self._kernels("triple_message").triple_message_collect(rows, _lists(edges), carried, collected, first)


def _lists(edges: Edges) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return edges.subject_rows, edges.subject_edges, edges.object_rows, edges.object_edges
