"""triple_message on a GPU: what the backends cuda and triton share.

Plain matrix products are torch's (cuBLAS). What stands between them is the backend's: gathering, adding and ReLU before
the large product, pooling after it, and the backward pass of both. Edges are taken in ranges, in the order of
edge_index, so that what the products read and write stays in the L2 cache and memory does not grow with their number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hmeg.reference.weights import TripleWeights

from .base import accumulator
from .edges import check_edges

# Of a range's activations and products together: below the L2 cache of an A100 (40 MB) and of an H100 (50 MB).
RANGE_BYTES = 32 << 20


@dataclass(frozen=True)
class Edges:
    """The edges of one call, contiguous: edge_index (2, E), edge_type (E,) or None, and EdgeStructure's lists."""

    index: Tensor
    type: Tensor | None
    subject_rows: Tensor
    subject_edges: Tensor
    object_rows: Tensor
    object_edges: Tensor

    @property
    def count(self) -> int:
        return self.index.shape[1]

    @property
    def nodes(self) -> int:
        return len(self.subject_rows) - 1

    @cached_property
    def degree(self) -> Tensor:
        """(V, 1) what ``avg`` divides by: the edges of each node in both roles, at least 1."""
        return (self.subject_rows.diff() + self.object_rows.diff()).clamp(min=1)[:, None]

    def ranges(self, row_bytes: int) -> Iterator[tuple[int, int]]:
        """First edge and number of edges of each range of at most RANGE_BYTES; one, of no edges, if there are none."""
        step = max(1, RANGE_BYTES // row_bytes)
        for first in range(0, max(self.count, 1), step):
            yield first, min(step, self.count - first)

    def longest_range(self, row_bytes: int) -> int:
        return min(self.count, max(1, RANGE_BYTES // row_bytes))


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ReLU(x weight^T + bias)."""
    return torch.addmm(bias, x, weight.T).relu_()


def relu_backward_(grad: Tensor, output: Tensor) -> Tensor:
    """grad, in place, where ReLU's output is positive."""
    return torch.ops.aten.threshold_backward.grad_input(grad, output, 0, grad_input=grad)


class TripleMessageOnGpu(ABC):
    """The steps in order; a backend adds the kernels' methods, all on a range of edges ``first``, ``count``.

    _hidden(projected, table, edges, first, hidden)
        hidden (count, K) := ReLU(projected[0, subject] + own + projected[1, object]); own is the table's row of the
        edge's type, or without a table what ``hidden`` held
    _grad_products(signs, grad_pooled, grad_edges, edges, first, grad_products)
        grad_products (count, 2 K + C'), or 2 K where grad_edges is empty, := the gradients of what W2 gave
    _collect(rows, edges, first, carried, collected)
        collected (2, V, K) := sums of rows (count, K) over each node's edges as subject and as object; ``carried``, of
        the same shape in accumulation precision, takes them from range to range
    """

    @abstractmethod
    def _hidden(self, projected: Tensor, table: Tensor | None, edges: Edges, first: int, hidden: Tensor) -> None: ...

    @abstractmethod
    def _grad_products(
        self, signs: Tensor, grad_pooled: Tensor, grad_edges: Tensor, edges: Edges, first: int, grad_products: Tensor
    ) -> None: ...

    @abstractmethod
    def _collect(self, rows: Tensor, edges: Edges, first: int, carried: Tensor, collected: Tensor) -> None: ...

    def _edges(
        self, x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor]
    ) -> Edges:
        check_edges(x, edge_attr, edge_index, edge_type)
        lists = list(structure) or torch.ops.hmeg.edge_structure(edge_index, len(x))
        given = (t.contiguous() for t in (edge_index, *lists[:4]))
        index, subject_rows, subject_edges, object_rows, object_edges = given
        kind = None if edge_type is None else edge_type.contiguous()
        return Edges(index, kind, subject_rows, subject_edges, object_rows, object_edges)

    def _projected(self, x: Tensor, w1: Tensor, b1: Tensor) -> Tensor:
        """(2, V, K): the share of W1 [x_s ; e ; x_o] + b1 that every node has as subject, b1 with it, and as object."""
        channels = x.shape[1]
        projected = x.new_empty((2, len(x), len(w1)))
        torch.addmm(b1, x, w1[:, :channels].T, out=projected[0])
        torch.mm(x, w1[:, 2 * channels :].T, out=projected[1])
        return projected

    def triple_message_backward(
        self, grad_x: Tensor, grad_edge_attr: Tensor, new_x: Tensor, pooled: Tensor, signs: Tensor, x: Tensor,
        edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor], w1: Tensor,
        b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
        return_edges: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        edges = self._edges(x, edge_attr, edge_index, edge_type, structure)
        grad_pooled, *for_nodes = _node_layers_backward(grad_x, new_x, pooled, w3, b3, w4)
        if pooling == "avg":
            grad_pooled = grad_pooled / edges.degree
        weights = TripleWeights(w1, b1, w2, b2, w3, b3, w4, b4)
        for_edges = self._edge_layers_backward(
            grad_pooled, grad_edge_attr, signs, x, edge_attr, edges, weights, return_edges
        )
        return *for_edges, *for_nodes

    def _edge_layers_backward(
        self, grad_pooled: Tensor, grad_edges: Tensor, signs: Tensor, x: Tensor, edge_attr: Tensor, edges: Edges,
        weights: TripleWeights, return_edges: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Gradients of x, edge_attr, w1, b1, w2, b2."""
        (width, channels), wide = (weights.w3.shape[0], x.shape[1]), accumulator(x.dtype)
        of_subject, of_edge, of_object = weights.w1.split(channels, dim=1)
        w2 = used_rows(weights.w2, width, return_edges)
        columns = len(w2)
        projected = self._projected(x, weights.w1, weights.b1)
        table = None if edges.type is None else edge_attr @ of_edge.T
        grad_pooled, grad_edges, signs = (t.contiguous() for t in (grad_pooled, grad_edges, signs))

        row_bytes = (2 * width + columns) * x.element_size()
        longest = edges.longest_range(row_bytes)
        hidden_rows, grad_hidden_rows = (x.new_empty((longest, width)) for _ in range(2))
        grad_product_rows = x.new_empty((longest, columns))
        collected = x.new_empty((2, edges.nodes, width))
        carried = x.new_empty(collected.shape if edges.count > longest else (0,), dtype=wide)
        # Sums over edges: of one range in the tensors' own type, over the ranges in that of sums.
        grad_w2 = w2.new_zeros(w2.shape, dtype=wide)
        grad_b2 = w2.new_zeros((columns,), dtype=wide)
        grad_of_edge = of_edge.new_zeros(of_edge.shape, dtype=wide)
        grad_table = x.new_zeros((len(edge_attr) if table is not None else 0, width), dtype=wide)
        grad_edge_attr = None if table is not None else edge_attr.new_empty(edge_attr.shape)
        for first, count in edges.ranges(row_bytes):
            here = slice(first, first + count)
            hidden, grad_hidden = hidden_rows[:count], grad_hidden_rows[:count]
            grad_products = grad_product_rows[:count]
            if table is None:
                torch.mm(edge_attr[here], of_edge.T, out=hidden)
            self._hidden(projected, table, edges, first, hidden)
            self._grad_products(signs, grad_pooled, grad_edges, edges, first, grad_products)
            grad_w2 += grad_products.T @ hidden
            grad_b2 += grad_products.sum(dim=0, dtype=wide)
            torch.mm(grad_products, w2, out=grad_hidden)
            relu_backward_(grad_hidden, hidden)
            self._collect(grad_hidden, edges, first, carried, collected)
            if grad_edge_attr is None:
                types = torch.arange(len(edge_attr), device=x.device)
                grad_table += (edges.type[here] == types[:, None]).to(x.dtype) @ grad_hidden  # type: ignore[index]
            else:
                torch.mm(grad_hidden, of_edge, out=grad_edge_attr[here])
                grad_of_edge += grad_hidden.T @ edge_attr[here]
        if grad_edge_attr is None:
            grad_table = grad_table.to(x.dtype)
            grad_edge_attr = grad_table @ of_edge
            grad_of_edge = grad_table.T @ edge_attr
        as_subject, as_object = collected
        grad_x = torch.addmm(as_subject @ of_subject, as_object, of_object)
        grad_w1 = torch.cat([as_subject.T @ x, grad_of_edge.to(x.dtype), as_object.T @ x], dim=1)
        grad_b1 = as_subject.sum(dim=0)
        out = len(weights.w2) - 2 * width
        return (
            grad_x,
            grad_edge_attr,
            grad_w1,
            grad_b1,
            _all_rows(grad_w2.to(x.dtype), width, 0 if return_edges else out),
            _all_rows(grad_b2.to(x.dtype), width, 0 if return_edges else out),
        )


def used_rows(of_w2: Tensor, width: int, return_edges: bool) -> Tensor:
    """W2 or b2 without the rows of the edges' own output where nobody reads that."""
    return of_w2 if return_edges else torch.cat([of_w2[:width], of_w2[-width:]])


def _all_rows(grad: Tensor, width: int, missing: int) -> Tensor:
    """The gradient of W2 or b2, given that of its used rows."""
    return torch.cat([grad[:width], grad.new_zeros((missing, *grad.shape[1:])), grad[width:]]) if missing else grad


def _node_layers_backward(
    grad_x: Tensor, new_x: Tensor, pooled: Tensor, w3: Tensor, b3: Tensor, w4: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of pooled, w3, b3, w4, b4."""
    hidden = linear_relu(pooled, w3, b3)
    grad_out = torch.ops.aten.threshold_backward(grad_x, new_x, 0)
    grad_hidden = relu_backward_(grad_out @ w4, hidden)
    return grad_hidden @ w3, grad_hidden.T @ pooled, grad_hidden.sum(dim=0), grad_out.T @ hidden, grad_out.sum(dim=0)
