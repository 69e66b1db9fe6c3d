"""triple_message on a GPU: matrix products by cuBLAS, CUDA kernels between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..base import accumulator
from ..edges import sign_words
from ..native.backend import NativeBackend
from ..triple_message import Edges, TripleMessageOnGpu, linear_relu, used_rows


class TripleMessage(TripleMessageOnGpu, NativeBackend):
    def triple_message(
        self, x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor],
        w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
        return_edges: bool, keep: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        edges = self._edges(x, edge_attr, edge_index, edge_type, structure)
        channels, (out, width) = x.shape[1], w4.shape
        of_edge = w1[:, channels : 2 * channels]
        projected = self._projected(x, w1, b1)
        table = None if edge_type is None else edge_attr @ of_edge.T
        w2, b2 = used_rows(w2, width, return_edges), used_rows(b2, width, return_edges)

        row_bytes = (width + len(w2)) * x.element_size()
        longest = edges.longest_range(row_bytes)
        hidden_rows, product_rows = x.new_empty((longest, width)), x.new_empty((longest, len(w2)))
        pooled = x.new_empty((len(x), width))
        carried = x.new_empty(pooled.shape if edges.count > longest else (0,), dtype=accumulator(x.dtype))
        new_edge_attr = x.new_empty((edges.count if return_edges else 0, out))
        words = sign_words(width, out, return_edges)
        signs = x.new_empty((edges.count if keep else 0, words), dtype=torch.int32)
        for first, count in edges.ranges(row_bytes):
            hidden, products = hidden_rows[:count], product_rows[:count]
            if table is None:
                torch.mm(edge_attr[first : first + count], of_edge.T, out=hidden)
            self._hidden(projected, table, edges, first, hidden)
            torch.mm(hidden, w2.T, out=products)
            self.call(
                "triple_message_pool", products=products, bias=b2, **_lists(edges), carried=carried, pooled=pooled,
                new_edges=new_edge_attr if return_edges else None, signs=signs if keep else None, first=first,
                count=count, edges=edges.count, nodes=len(x), width=width, out=out, average=int(pooling == "avg"),
            )  # fmt: skip
        new_x = linear_relu(linear_relu(pooled, w3, b3), w4, b4)
        return new_x, new_edge_attr, pooled if keep else pooled.new_empty((0, width)), signs

    def _hidden(self, projected: Tensor, table: Tensor | None, edges: Edges, first: int, hidden: Tensor) -> None:
        count, width = hidden.shape
        self.call(
            "triple_message_hidden", projected=projected, table=table, edge_index=edges.index, edge_type=edges.type,
            hidden=hidden, first=first, count=count, edges=edges.count, nodes=edges.nodes,
            types=0 if table is None else len(table), width=width,
        )  # fmt: skip

    def _grad_products(
        self, signs: Tensor, grad_pooled: Tensor, grad_edges: Tensor, edges: Edges, first: int, grad_products: Tensor
    ) -> None:
        (count, columns), width = grad_products.shape, grad_pooled.shape[1]
        self.call(
            "triple_message_grad_products", signs=signs, grad_pooled=grad_pooled, grad_edges=grad_edges,
            edge_index=edges.index, grad_products=grad_products, first=first, count=count, edges=edges.count,
            nodes=len(grad_pooled), width=width, own=columns - 2 * width,
        )  # fmt: skip

    def _collect(self, rows: Tensor, edges: Edges, first: int, carried: Tensor, collected: Tensor) -> None:
        count, width = rows.shape
        self.call(
            "triple_message_collect", rows=rows, **_lists(edges), carried=carried, collected=collected, first=first,
            count=count, edges=edges.count, nodes=edges.nodes, width=width,
        )  # fmt: skip


def _lists(edges: Edges) -> dict[str, Tensor]:
    return {
        "subject_rows": edges.subject_rows, "subject_edges": edges.subject_edges, "object_rows": edges.object_rows,
        "object_edges": edges.object_edges,
    }  # fmt: skip
