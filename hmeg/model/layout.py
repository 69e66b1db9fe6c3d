"""The layout generator: a symbol graph and noise become boxes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmeg import ops

from .config import ModelConfig
from .graph_batch import GraphBatch
from .triple_conv import MLP, GraphEncoder, init_box_head, init_linear_kaiming, init_linear_xavier

_NUM_BOX_NUMBERS = 8
_SMALLEST_SIDE = 1 / 256
_BORDER = 1 / 64  # about what prepared data sets leave free (hmeg.data.crohme.RenderSettings)


class AttentionReadout(nn.Module):
    """One vector per expression: its symbols weighted by their agreement with the expression's context.

    With W = ``weight``: c = tanh(mean over symbols of x W), score_v = sigmoid(x_v . c), g = sum of score_v x_v.
    forward(x (V, C), batch (V,), num_graphs) -> (N, C), by :func:`hmeg.ops.attention_readout`.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, dim))
        nn.init.xavier_normal_(self.weight)

    def forward(self, x: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        return ops.attention_readout(x, self.weight, batch, num_graphs)


def inside_image(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) moved, not squeezed, so that they stand in the image with a free border; those larger than that
    overlap both borders alike."""
    low, high = boxes[..., :2], boxes[..., 2:]
    past = (_BORDER - low).clamp(min=0) - (high - (1 - _BORDER)).clamp(min=0)
    return boxes + torch.cat([past, past], dim=-1)


class LayoutGenerator(nn.Module):
    """Boxes for the symbols of expressions (the published box network).

    forward(graph, noise (V, noise_dim) standard normal) -> boxes (V, 4): x0, y0, x1, y1 meant to lie in [0, 1] of
    the image, never negative; nothing keeps them from exceeding 1 or being inverted. ``graph.boxes`` is not read.
    Differentiable in noise and weights. Runs in its weights' precision, under autocast too: it is small.

    With ``config.layout.prior`` (our own extension) it learns how handwriting differs from type instead of everything:
    it reads ``graph.typeset_boxes`` beside the symbols, and adds its output to them; ValueError if they are missing. In
    evaluation mode a box that would leave the image is moved back in (:func:`inside_image`). With
    ``config.layout.shared_noise`` the last so many noise numbers of an expression's first symbol count for all of it.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        sizes = config.layout
        dim, hidden = sizes.embedding_dim, sizes.hidden_dim
        self.encoder = GraphEncoder(dim, hidden, dim, sizes.num_layers, sizes.symbols)
        self.readout = AttentionReadout(dim)
        read = 2 * dim + sizes.noise_dim
        if sizes.prior:
            self.prior_embedding = nn.Linear(_NUM_BOX_NUMBERS, dim)
            self.correction = nn.Sequential(nn.Linear(read + _NUM_BOX_NUMBERS, hidden), nn.ReLU(), nn.Linear(hidden, 4))
        else:
            self.box_head = MLP(read, hidden, 4)
        if sizes.kaiming_init:
            self.apply(init_linear_kaiming)
            if not sizes.prior:
                init_box_head(self.box_head)
        else:
            self.apply(init_linear_xavier)
        if sizes.prior:
            nn.init.zeros_(self.correction[-1].weight)  # type: ignore[arg-type]  # training starts from the type

    def forward(self, graph: GraphBatch, noise: Tensor) -> Tensor:
        expected = (len(graph.symbols), self.config.layout.noise_dim)
        if tuple(noise.shape) != expected:
            raise ValueError(f"noise must be {expected}: one row per symbol; got {tuple(noise.shape)}")
        return self.place(graph, self.read(graph), noise)

    def read(self, graph: GraphBatch) -> Tensor:
        """What :meth:`place` needs to know of each symbol (V, 2 embedding_dim); no noise has a part in it."""
        with torch.autocast(graph.symbols.device.type, enabled=False):
            extra = self.prior_embedding(self._prior(graph)) if self.config.layout.prior else None
            nodes, _ = self.encoder(graph.symbols, graph.edge_index, graph.edge_type, extra, graph.structure)
            whole = self.readout(nodes, graph.batch, graph.num_graphs)
            return torch.cat([nodes, whole[graph.batch]], dim=1)

    def place(self, graph: GraphBatch, read: Tensor, noise: Tensor) -> Tensor:
        """Boxes (V, 4) of one draw: forward(graph, noise) = place(graph, read(graph), noise)."""
        boxes: Tensor
        if self.config.layout.shared_noise:
            first = torch.searchsorted(graph.batch, graph.batch)  # symbol of each symbol's expression
            noise = self.with_shared(noise, noise[first])
        with torch.autocast(graph.symbols.device.type, enabled=False):
            if self.config.layout.prior:
                prior = self._prior(graph)
                boxes = prior[:, :4] + self.correction(torch.cat([read, noise, prior], dim=1))
                if not self.training:
                    boxes = inside_image(boxes)
            else:
                boxes = self.box_head(torch.cat([read, noise], dim=1))
        return boxes

    @torch.no_grad()
    def scale_noise(self, factor: float) -> None:
        """From now on noise counts as if it were ``factor`` times as large: the temperature of all that is drawn."""
        first = self.correction[0] if self.config.layout.prior else self.box_head.hidden
        read = 2 * self.config.layout.embedding_dim
        assert isinstance(first, nn.Linear)
        first.weight[:, read : read + self.config.layout.noise_dim] *= factor

    def with_shared(self, noise: Tensor, first: Tensor) -> Tensor:
        """Noise (..., noise_dim), what is shared taken from ``first``, the noise of expressions' first symbols."""
        own = self.config.layout.noise_dim - self.config.layout.shared_noise
        return torch.cat([noise[..., :own], first[..., own:]], dim=-1)

    def _prior(self, graph: GraphBatch) -> Tensor:
        if graph.typeset_boxes is None:
            raise ValueError("this model starts from typeset boxes: GraphBatch.from_graphs(graphs, typeset=True)")
        return box_numbers(graph.typeset_boxes)


def box_numbers(boxes: Tensor) -> Tensor:
    """boxes (..., 4) -> (..., 8): the box, its width and height, and their logarithms."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=_SMALLEST_SIDE)
    return torch.cat([boxes, sides, sides.log()], dim=-1)
