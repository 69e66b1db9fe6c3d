"""triple_message on the CPU: matrix products by torch on tiles of edges, what stands between them in C++.

W1 [x_s ; e ; x_o] is the sum of three products: two of them are done once per node, the third once per edge, or once
per row of the table of edge features. The outputs of W2, (E, 2 K + C'), exist for one tile at a time: ReLU and pooling
follow the product while the tile is in the cache. The backward pass makes the hidden activations again, tile by tile;
of W2's outputs it needs to know only which were positive, one bit each.

The kernels sum in an order of their own, whatever the number of threads. How a matrix product is summed is up to
torch's BLAS, which may round differently with another number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..edges import check_edges, sign_words
from ..pointers import DTYPE_CODES
from .launcher import Launcher

# Edges at a time: W2's outputs of a tile take 2.4 MB at the published sizes, and 4.7 MB in the backward pass, where
# every tile is added to the gradients of the weights.
TILE, BACKWARD_TILE = 512, 1024
UNPOOL_CHUNK = 64  # as in csrc/triple_message.h


class TripleMessage(Launcher):
    def triple_message(
        self, x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor],
        w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
        return_edges: bool, keep: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        (nodes, edges), (out, hidden) = (len(x), edge_index.shape[1]), w4.shape
        layer = _EdgeLayer(self, x, edge_attr, edge_index, edge_type, w1, b1, TILE)
        made, parts = _outputs(hidden, out, return_edges)
        b2 = torch.cat([b2[rows] for rows, _ in parts])
        pooled, new_edges = x.new_zeros((nodes, hidden)), x.new_empty((edges if return_edges else 0, out))
        signs = x.new_empty((edges if keep else 0, sign_words(hidden, out, return_edges)), dtype=torch.int32)
        products = x.new_empty((layer.tile_size, 2 * hidden + made))
        for begin, end in layer.tiles():
            active, product = layer.activations(begin, end), products[: end - begin]
            for rows, columns in parts:
                torch.mm(active, w2[rows].T, out=product[:, columns])
            self._run("triple_message_pool", layer.code, product.data_ptr(), b2.data_ptr(), *layer.ends(begin),
                      pooled.data_ptr(), new_edges[begin:].data_ptr(), signs[begin:].data_ptr() if keep else 0,
                      end - begin, hidden, made)  # fmt: skip
        if pooling == "avg":
            pooled.div_(_divisors(edge_index, x))
        new_x = torch.addmm(b4, torch.addmm(b3, pooled, w3.T).relu_(), w4.T).relu_()
        return new_x, new_edges, pooled if keep else x.new_empty((0, hidden)), signs

    def triple_message_backward(
        self, grad_x: Tensor, grad_edge_attr: Tensor, new_x: Tensor, pooled: Tensor, signs: Tensor, x: Tensor,
        edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor], w1: Tensor,
        b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
        return_edges: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        (nodes, channels), (out, hidden) = x.shape, w4.shape
        grad_pooled, *for_node_weights = _node_gradients(grad_x, new_x, pooled, w3, b3, w4)
        if pooling == "avg":
            grad_pooled.div_(_divisors(edge_index, x))
        layer = _EdgeLayer(self, x, edge_attr, edge_index, edge_type, w1, b1, BACKWARD_TILE)
        made, parts = _outputs(hidden, out, return_edges)
        grad_edge_attr, signs = grad_edge_attr.contiguous(), signs.contiguous()
        for_w2, sums = torch.zeros_like(w2, memory_format=torch.contiguous_format), x.new_zeros(2 * hidden + made)
        partial_sums = x.new_empty((-(-layer.tile_size // UNPOOL_CHUNK), len(sums)))
        for_w1 = x.new_zeros((hidden, 3 * channels))
        for_subject, for_edge, for_object = for_w1.split(channels, dim=1)
        by_subject, by_object = x.new_zeros((nodes, hidden)), x.new_zeros((nodes, hidden))
        by_type = None if edge_type is None else x.new_zeros((len(edge_attr), hidden))
        for_edge_attr = torch.empty_like(edge_attr, memory_format=torch.contiguous_format)
        grad_products = x.new_empty((layer.tile_size, 2 * hidden + made))
        grad_activations = x.new_empty((layer.tile_size, hidden))
        for begin, end in layer.tiles():
            size, active = end - begin, layer.activations(begin, end)
            grad_product, grad_active = grad_products[:size], grad_activations[:size]
            self._run("triple_message_unpool", layer.code, grad_pooled.data_ptr(), grad_edge_attr[begin:].data_ptr(),
                      signs[begin:].data_ptr(), *layer.ends(begin), grad_product.data_ptr(), partial_sums.data_ptr(),
                      sums.data_ptr(), size, hidden, made)  # fmt: skip
            for i, (rows, columns) in enumerate(parts):
                for_w2[rows].addmm_(grad_product[:, columns].T, active)
                grad_active.addmm_(grad_product[:, columns], w2[rows], beta=1 if i else 0)
            self._run("triple_message_scatter", layer.code, active.data_ptr(), *layer.ends(begin), layer.types(begin),
                      grad_active.data_ptr(), by_subject.data_ptr(), by_object.data_ptr(),
                      0 if by_type is None else by_type.data_ptr(), size, hidden)  # fmt: skip
            if by_type is None:
                torch.mm(grad_active, layer.for_edge, out=for_edge_attr[begin:end])
                for_edge.addmm_(grad_active.T, edge_attr[begin:end])
        if by_type is not None:
            torch.mm(by_type, layer.for_edge, out=for_edge_attr)
            torch.mm(by_type.T, edge_attr, out=for_edge)
        torch.mm(by_subject.T, x, out=for_subject)
        torch.mm(by_object.T, x, out=for_object)
        for_x = torch.mm(by_subject, layer.for_subject).addmm_(by_object, layer.for_object)
        for_b2 = torch.zeros_like(b2, memory_format=torch.contiguous_format)
        for rows, columns in parts:
            for_b2[rows] = sums[columns]
        return for_x, for_edge_attr, for_w1, by_subject.sum(dim=0), for_w2, for_b2, *for_node_weights


class _EdgeLayer:
    """W1 over all edges, a tile at a time.

    for_subject, for_edge, for_object  (K, C) each: the parts of W1
    tile_size                          edges of the largest tile
    """

    def __init__(
        self, launcher: Launcher, x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None,
        w1: Tensor, b1: Tensor, tile: int,
    ) -> None:  # fmt: skip
        check_edges(x, edge_attr, edge_index, edge_type)
        self.code = DTYPE_CODES[x.dtype]
        self._run, self._edge_attr = launcher._run, edge_attr
        self._edge_index = edge_index.contiguous()
        self._edge_type = None if edge_type is None else edge_type.contiguous()
        self.for_subject, self.for_edge, self.for_object = w1.split(x.shape[1], dim=1)
        self._from_subject = torch.addmm(b1, x, self.for_subject.T)
        self._from_object = torch.mm(x, self.for_object.T)
        self._from_type = None if edge_type is None else torch.mm(edge_attr, self.for_edge.T)
        self._edges = edge_index.shape[1]
        self._tiles = -(-self._edges // tile)
        self.tile_size = -(-self._edges // self._tiles) if self._edges else 0
        self._activations = x.new_empty((self.tile_size, len(b1)))

    def tiles(self) -> Iterator[tuple[int, int]]:
        """First and last edge (exclusive) of consecutive tiles, nearly the same number in each."""
        for i in range(self._tiles):
            yield self._edges * i // self._tiles, self._edges * (i + 1) // self._tiles

    def activations(self, begin: int, end: int) -> Tensor:
        """(end - begin, K): ReLU(W1 [x_s ; e ; x_o] + b1) of the edges of a tile, until the next one is asked for."""
        active = self._activations[: end - begin]
        if self._from_type is None:
            torch.mm(self._edge_attr[begin:end], self.for_edge.T, out=active)
        self._run("triple_message_hidden", self.code, self._from_subject.data_ptr(), self._from_object.data_ptr(),
                  0 if self._from_type is None else self._from_type.data_ptr(), *self.ends(begin), self.types(begin),
                  active.data_ptr(), end - begin, active.shape[1])  # fmt: skip
        return active

    def ends(self, begin: int) -> tuple[int, int]:
        """Addresses of the subjects and of the objects of the edges from ``begin`` on."""
        subject, object_ = self._edge_index
        return subject[begin:].data_ptr(), object_[begin:].data_ptr()

    def types(self, begin: int) -> int:
        """Address of the types of the edges from ``begin`` on, or 0."""
        return 0 if self._edge_type is None else self._edge_type[begin:].data_ptr()


def _outputs(hidden: int, out: int, return_edges: bool) -> tuple[int, list[tuple[slice, slice]]]:
    """How many of W2's outputs are an edge's own, and which rows of W2 make which columns of a tile."""
    if return_edges:
        return out, [(slice(None), slice(None))]
    return 0, [(slice(0, hidden), slice(0, hidden)), (slice(hidden + out, None), slice(hidden, None))]


def _divisors(edge_index: Tensor, x: Tensor) -> Tensor:
    """(V, 1): how often each node is an end of an edge, at least 1."""
    return torch.bincount(edge_index.flatten(), minlength=len(x)).clamp_(min=1).to(x.dtype)[:, None]


def _node_gradients(
    grad_x: Tensor, new_x: Tensor, pooled: Tensor, w3: Tensor, b3: Tensor, w4: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of pooled, w3, b3, w4 and b4."""
    active = torch.addmm(b3, pooled, w3.T).relu_()
    grad_out = grad_x * (new_x > 0)
    grad_hidden = torch.mm(grad_out, w4) * (active > 0)
    return (
        torch.mm(grad_hidden, w3), torch.mm(grad_hidden.T, pooled), grad_hidden.sum(dim=0),
        torch.mm(grad_out.T, active), grad_out.sum(dim=0),
    )  # fmt: skip
