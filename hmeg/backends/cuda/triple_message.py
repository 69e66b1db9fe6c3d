"""triple_message on a GPU: matrix products by cuBLAS, CUDA kernels between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..edges import sign_words
from ..pointers import DTYPE_CODES, accumulator
from ..triple_message import Edges, TripleMessageOnGpu, linear_relu, used_rows
from .device import Launcher


class TripleMessage(TripleMessageOnGpu, Launcher):
    def triple_message(
        self, x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor],
        w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
        return_edges: bool, keep: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        edges = self._edges(x, edge_attr, edge_index, edge_type, structure)
        channels, (out, width) = x.shape[1], w4.shape
        of_edge = w1[:, channels : 2 * channels]
        projected = self._projected(x, w1, b1)
        table = None if edge_type is None else self._given(edge_attr @ of_edge.T)
        w2, b2 = used_rows(w2, width, return_edges), self._given(used_rows(b2, width, return_edges))

        row_bytes = (width + len(w2)) * x.element_size()
        longest = edges.longest_range(row_bytes)
        hidden_rows, product_rows = self._new((longest, width), x), self._new((longest, len(w2)), x)
        pooled = self._new((len(x), width), x)
        carried = self._new(tuple(pooled.shape) if edges.count > longest else (0,), x, accumulator(x.dtype))
        new_edge_attr = self._new((edges.count if return_edges else 0, out), x)
        words = sign_words(width, out, return_edges)
        signs = self._new((edges.count if keep else 0, words), x, torch.int32)
        for first, count in edges.ranges(row_bytes):
            hidden, products = hidden_rows[:count], product_rows[:count]
            if table is None:
                torch.mm(edge_attr[first : first + count], of_edge.T, out=hidden)
            self._hidden(projected, table, edges, first, hidden)
            torch.mm(hidden, w2.T, out=products)
            self._launch(
                "triple_message_pool", x, DTYPE_CODES[x.dtype], products.data_ptr(), b2.data_ptr(), *_lists(edges),
                carried.data_ptr(), pooled.data_ptr(), new_edge_attr.data_ptr() if return_edges else 0,
                signs.data_ptr() if keep else 0, first, count, edges.count, len(x), width, out, int(pooling == "avg"),
            )  # fmt: skip
        new_x = linear_relu(linear_relu(pooled, w3, b3), w4, b4)
        return new_x, new_edge_attr, pooled if keep else pooled.new_empty((0, width)), signs

    def _given(self, tensor: Tensor) -> Tensor:
        return self._device.given(tensor)

    def _new(self, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return self._device.empty(shape, like, dtype)

    def _hidden(self, projected: Tensor, table: Tensor | None, edges: Edges, first: int, hidden: Tensor) -> None:
        self._launch(
            "triple_message_hidden", hidden, DTYPE_CODES[hidden.dtype], projected.data_ptr(),
            0 if table is None else table.data_ptr(), edges.index.data_ptr(),
            0 if edges.type is None else edges.type.data_ptr(), hidden.data_ptr(), first, len(hidden), edges.count,
            edges.nodes, hidden.shape[1],
        )  # fmt: skip

    def _grad_products(
        self, signs: Tensor, grad_pooled: Tensor, grad_edges: Tensor, edges: Edges, first: int, grad_products: Tensor
    ) -> None:
        count, columns = grad_products.shape
        width = grad_pooled.shape[1]
        self._launch(
            "triple_message_grad_products", grad_products, DTYPE_CODES[grad_products.dtype], signs.data_ptr(),
            grad_pooled.data_ptr(), grad_edges.data_ptr(), edges.index.data_ptr(), grad_products.data_ptr(), first,
            count, edges.count, width, columns - 2 * width,
        )  # fmt: skip

    def _collect(self, rows: Tensor, edges: Edges, first: int, carried: Tensor, collected: Tensor) -> None:
        self._launch(
            "triple_message_collect", rows, DTYPE_CODES[rows.dtype], rows.data_ptr(), *_lists(edges),
            carried.data_ptr(), collected.data_ptr(), first, len(rows), edges.count, edges.nodes, rows.shape[1],
        )  # fmt: skip


def _lists(edges: Edges) -> tuple[int, int, int, int]:
    lists = (edges.subject_rows, edges.subject_edges, edges.object_rows, edges.object_edges)
    return tuple(tensor.data_ptr() for tensor in lists)  # type: ignore[return-value]
