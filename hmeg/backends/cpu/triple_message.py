"""triple_message on the CPU: what is done per node is products of matrices, what is done per edge is C++.

W1 [x_s ; e ; x_o] is the sum of three products: two of them are done once per node, the third once per edge, or once
per row of the table of edge features. Edges go by in tiles: neither hidden activations nor W2's outputs ever exist for
all. The backward pass makes the hidden activations again; of W2's outputs it needs to know only which were positive,
one bit each.

What the products over edges multiply came out of a ReLU, forward and backward, so the C++ passes over the zeros, half
of their operations (csrc/cpu/simd/sparse_product.h). A processor with a matrix unit is faster still: it multiplies
float32 as sums of bfloat16 (csrc/cpu/amx/tiles.h), over nodes too, as exactly as torch's precision of products asks.

The kernels sum in an order of their own, whatever the number of threads. How torch's BLAS sums a product over nodes,
where there is no matrix unit, may depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..edges import check_edges, sign_words
from ..native.backend import NativeBackend
from ..native.device import Cpu
from ..native.entry import DTYPE_CODES
from .matrix_product import Products


class TripleMessage(NativeBackend):
    device: Cpu

    def triple_message(
        self, x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor],
        w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
        return_edges: bool, keep: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        (nodes, edges), (out, hidden) = (len(x), edge_index.shape[1]), w4.shape
        products = self._products(x, edges)
        layer = _EdgeLayer(products, x, edge_attr, edge_index, edge_type, w1, b1, w2, out if return_edges else 0)
        pooled, new_edges = x.new_zeros((nodes, hidden)), x.new_empty((edges if return_edges else 0, out))
        signs = x.new_empty((edges if keep else 0, sign_words(hidden, out, return_edges)), dtype=torch.int32)
        self.call(
            "triple_message_forward", **layer.given, b2=b2, pooled=pooled, new_edges=new_edges,
            signs=signs if keep else None, parts=products.parts,
        )  # fmt: skip
        if pooling == "avg":
            pooled.div_(_divisors(edge_index, structure, x))
        new_x = products.mm(products.mm(pooled, w3.T, b3).relu_(), w4.T, b4).relu_()
        return new_x, new_edges, pooled if keep else x.new_empty((0, hidden)), signs

    def triple_message_backward(
        self, grad_x: Tensor, grad_edge_attr: Tensor, new_x: Tensor, pooled: Tensor, signs: Tensor, x: Tensor,
        edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor], w1: Tensor,
        b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
        return_edges: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        (nodes, channels), (out, hidden), edges = x.shape, w4.shape, edge_index.shape[1]
        products = self._products(x, edges)
        grad_pooled, *for_node_weights = _node_gradients(products, grad_x, new_x, pooled, w3, b3, w4)
        if pooling == "avg":
            grad_pooled.div_(_divisors(edge_index, structure, x))
        layer = _EdgeLayer(products, x, edge_attr, edge_index, edge_type, w1, b1, w2, out if return_edges else 0)
        by_subject, by_object = x.new_zeros((nodes, hidden)), x.new_zeros((nodes, hidden))
        by_type = None if edge_type is None else x.new_zeros((len(edge_attr), hidden))
        for_edge_attr = torch.empty_like(edge_attr, memory_format=torch.contiguous_format)
        row = self.device.extension.triple_message_gradient_row(hidden=hidden)  # type: ignore[union-attr]
        for_w2 = x.new_empty((len(w2), row)) if edges else x.new_zeros((len(w2), row))
        for_w1_edge = x.new_empty((channels, row)) if edges else x.new_zeros((channels, row))
        for_b2 = torch.zeros_like(b2, memory_format=torch.contiguous_format)
        self.call(
            "triple_message_backward", **layer.given, grad_pooled=grad_pooled, grad_edges=grad_edge_attr, signs=signs,
            for_subject=by_subject, for_object=by_object, for_type=by_type, for_edge_attr=for_edge_attr,
            for_w1=for_w1_edge, for_w2=for_w2, for_b2=for_b2, parts=products.parts,
        )  # fmt: skip
        if not return_edges:
            for_w2[hidden : hidden + out] = 0
        for_w1 = x.new_empty((hidden, 3 * channels))
        for_subject, for_edge, for_object = for_w1.split(channels, dim=1)
        if by_type is None:
            for_edge.copy_(for_w1_edge[:, :hidden].T)
        else:
            torch.mm(by_type, layer.for_edge, out=for_edge_attr)
            torch.mm(by_type.T, edge_attr, out=for_edge)
        products.mm(by_subject.T, x, out=for_subject)
        products.mm(by_object.T, x, out=for_object)
        for_x = products.mm(by_object, layer.for_object, onto=products.mm(by_subject, layer.for_subject))
        for_w2 = for_w2[:, :hidden].contiguous()
        return for_x, for_edge_attr, for_w1, by_subject.sum(dim=0), for_w2, for_b2, *for_node_weights

    def _products(self, x: Tensor, edges: int) -> Products:
        """By the matrix unit where the kernels go by it: then no result depends on the number of threads."""
        chosen = self.device.extension.triple_message_by_matrix_unit(  # type: ignore[union-attr]
            dtype=DTYPE_CODES[x.dtype], edges=edges, variant=self.device.variant
        )
        return Products(self.device, chosen)


class _EdgeLayer:
    """W1 by nodes, and by types where there are any; and all that both entry points ask for about the edges.

    for_subject, for_edge, for_object  (K, C) each: the parts of W1
    given    fields of the entry points, by name (csrc/triple_message.h)
    """

    def __init__(
        self, products: Products, x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None,
        w1: Tensor, b1: Tensor, w2: Tensor, made: int,
    ) -> None:  # fmt: skip
        check_edges(x, edge_attr, edge_index, edge_type)
        channels, hidden = x.shape[1], len(b1)
        w1 = w1.contiguous()
        self.for_subject, self.for_edge, self.for_object = w1.split(channels, dim=1)
        subject, object_ = edge_index
        self.given = {
            "from_subject": products.mm(x, self.for_subject.T, b1),
            "from_object": products.mm(x, self.for_object.T),
            "from_type": None if edge_type is None else torch.mm(edge_attr, self.for_edge.T),
            "edge_attr": edge_attr,
            "w1": self.for_edge,
            "w2": w2,
            "subject": subject,
            "object": object_,
            "type": edge_type,
            "edges": edge_index.shape[1],
            "nodes": len(x),
            "types": 0 if edge_type is None else len(edge_attr),
            "channels": channels,
            "hidden": hidden,
            "out": made,
            "w1_step": 3 * channels,
            "object_row": len(w2) - hidden,
        }


def _divisors(edge_index: Tensor, structure: Sequence[Tensor], x: Tensor) -> Tensor:
    """(V, 1): how often each node is an end of an edge, at least 1. Read off the structure where there is one."""
    if structure:
        subject_rows, _, object_rows, *_ = structure
        degree = (subject_rows + object_rows).diff()
    else:
        degree = torch.bincount(edge_index.flatten(), minlength=len(x))
    return degree.clamp_(min=1).to(x.dtype)[:, None]


def _node_gradients(
    products: Products, grad_x: Tensor, new_x: Tensor, pooled: Tensor, w3: Tensor, b3: Tensor, w4: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of pooled, w3, b3, w4 and b4."""
    active = products.mm(pooled, w3.T, b3).relu_()
    grad_out = grad_x * (new_x > 0)
    grad_hidden = products.mm(grad_out, w4) * (active > 0)
    return (
        products.mm(grad_hidden, w3), products.mm(grad_hidden.T, pooled), grad_hidden.sum(dim=0),
        products.mm(grad_out.T, active), grad_out.sum(dim=0),
    )  # fmt: skip
