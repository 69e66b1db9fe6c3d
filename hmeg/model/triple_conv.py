"""Graph convolution over subject-relation-object triples, and the perceptron all networks here share."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from hmeg import ops
from hmeg.graph import vocabulary
from hmeg.ops import EdgeStructure, TripleWeights


def symbol_rows(symbols: int) -> int:
    """Rows of an embedding: class 0 (the reserved __image__), the symbols, and a spare one that published ones have."""
    return symbols + 2


NUM_SYMBOL_ROWS = symbol_rows(vocabulary.NUM_SYMBOL_CLASSES - 1)
NUM_RELATION_ROWS = vocabulary.NUM_EDGE_TYPES


class MLP(nn.Module):
    """Linear, ReLU, Linear, ReLU: (..., in) -> (..., out), non-negative (the published networks end in ReLU too)."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.out(F.relu(self.hidden(x))))


class GraphTripleConv(nn.Module):
    """One triple convolution, C -> C' channels with K hidden, average pooling (:func:`hmeg.ops.triple_message`).

    forward(x (V, C), edge_attr (E, C), edge_index (2, E)) -> x' (V, C'), edge_attr' (E, C'), both non-negative.
    Differentiable in x, edge_attr and the weights. ``edge_type``, ``structure`` and ``return_edges`` as the operator
    has them.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.edge = MLP(3 * in_dim, hidden_dim, 2 * hidden_dim + out_dim)
        self.node = MLP(hidden_dim, hidden_dim, out_dim)

    @property
    def weights(self) -> TripleWeights:
        """The weights as the operator takes them."""
        linears = (self.edge.hidden, self.edge.out, self.node.hidden, self.node.out)
        return TripleWeights(*itertools.chain.from_iterable((linear.weight, linear.bias) for linear in linears))

    def forward(
        self, x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None = None,
        structure: EdgeStructure | None = None, return_edges: bool = True,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        return ops.triple_message(
            x, edge_attr, edge_index, self.weights, "avg",
            edge_type=edge_type, structure=structure, return_edges=return_edges,
        )  # fmt: skip


class GraphTripleConvStack(nn.Module):
    """Several triple convolutions one after another; the first goes from ``in_dim`` to ``dim`` channels.

    forward(x (V, in_dim), relations (R, in_dim), edge_index (2, E), edge_type (E,), structure=None, return_edges=False)
    -> nodes (V, dim), edges (E, dim). Edge i starts from relations[edge_type[i]]; a structure
    (:func:`hmeg.ops.edge_structure`) that is not given is made once for all layers. Edges of the last layer are made
    for ``return_edges`` only: otherwise they are an empty (0, dim).
    """

    def __init__(self, in_dim: int, hidden_dim: int, dim: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            GraphTripleConv(in_dim if i == 0 else dim, hidden_dim, dim) for i in range(num_layers)
        )

    def forward(
        self, x: Tensor, relations: Tensor, edge_index: Tensor, edge_type: Tensor,
        structure: EdgeStructure | None = None, return_edges: bool = False,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        if structure is None and edge_index.device.type != "cpu":  # on the CPU nothing reads it
            structure = ops.edge_structure(edge_index, len(x))
        types: Tensor | None = edge_type
        edge_attr, last = relations, len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            x, edge_attr = layer(x, edge_attr, edge_index, types, structure, return_edges or i < last)
            types = None  # from here on every edge has features of its own
        return x, edge_attr


class GraphEncoder(nn.Module):
    """Embeddings of symbols and relations, then a stack of triple convolutions.

    forward(symbols (V,), edge_index (2, E), edge_type (E,), extra=None, structure=None, return_edges=False)
    -> nodes (V, dim), edges (E, dim) or (0, dim), see :class:`GraphTripleConvStack`.
    extra (V, embedding_dim), if given, is added to the symbols' embeddings.
    """

    def __init__(
        self, embedding_dim: int, hidden_dim: int, dim: int, num_layers: int, symbols: int = NUM_SYMBOL_ROWS - 2
    ) -> None:
        super().__init__()
        self.symbol_embedding = nn.Embedding(symbol_rows(symbols), embedding_dim)
        self.relation_embedding = nn.Embedding(NUM_RELATION_ROWS, embedding_dim)
        self.convs = GraphTripleConvStack(embedding_dim, hidden_dim, dim, num_layers)

    def forward(
        self, symbols: Tensor, edge_index: Tensor, edge_type: Tensor, extra: Tensor | None = None,
        structure: EdgeStructure | None = None, return_edges: bool = False,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        embedded = self.symbol_embedding(symbols)
        x = embedded if extra is None else embedded + extra
        relations = self.relation_embedding.weight
        nodes: tuple[Tensor, Tensor] = self.convs(x, relations, edge_index, edge_type, structure, return_edges)
        return nodes


def init_linear_xavier(module: nn.Module) -> None:
    """For ``module.apply``: Xavier-normal weights and zero biases in linear layers."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.bias)


def init_linear_kaiming(module: nn.Module) -> None:
    """For ``module.apply``: Kaiming-normal weights and zero biases in linear layers, which keeps ReLU stacks alive."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(module.bias)


def init_box_head(head: MLP) -> None:
    """Start every predicted coordinate near the middle of the image: one below 0 for every input would stay there."""
    nn.init.constant_(head.out.bias, 0.5)
