"""The image model: a symbol graph, boxes and noise become images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmeg import ops
from hmeg.graph import GraphBatch

from .box_coordinates import compose_in_boxes
from .config import ModelConfig
from .decoder import ImageDecoder
from .mask import LayoutUpsampler, MaskRefiner, match_format
from .triple_conv import MLP, NUM_RELATION_ROWS, NUM_SYMBOL_ROWS, GraphEncoder, init_box_head, init_linear_kaiming


@dataclass
class ImageOutput:
    """What :class:`ImageModel` computes.

    images           resolution -> (N, image_channels, r, r), no final nonlinearity; trained towards [0, 1]
    predicted_boxes  (V, 4) the model's own boxes, also when boxes were given
    masks            (V, 1, 64, 64) soft masks of the boxes used
    layout           (N, layout_channels, 256, 256), noise not appended
    relation_scores  (E, 13) when asked for, else None
    """

    images: dict[int, Tensor]
    predicted_boxes: Tensor
    masks: Tensor
    layout: Tensor
    relation_scores: Tensor | None = None


@dataclass(frozen=True)
class Windows:
    """Square parts of images: the decoder is convolutional, so it can be trained on where the ink is.

    expression, top, left  (M,) int64: which expression, and the upper left corner in pixels of the soft masks
    side                   in pixels of the soft masks; a multiple of what the decoder's stages halve
    """

    expression: Tensor
    top: Tensor
    left: Tensor
    side: int

    def cut(self, images: Tensor, scale: int) -> Tensor:
        """images (N, C, scale S, scale S), S the masks' side -> (M, C, scale side, scale side)."""
        steps = torch.arange(scale * self.side, device=images.device)
        rows = (self.top * scale)[:, None] + steps
        columns = (self.left * scale)[:, None] + steps
        channels_last = images.permute(0, 2, 3, 1)
        return channels_last[self.expression[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class ImageModel(nn.Module):
    """Graph convolutions, learned masks, composed and upsampled layout, cascaded refinement.

    forward(graph, noise, boxes=None, resolutions=None, relation_scores=False, windows=None) -> :class:`ImageOutput`

    graph            expressions; ``graph.boxes`` is not read
    noise            (N, layout_noise_dim, 256, 256) standard normal
    boxes            (V, 4) in [0, 1]; None uses the model's own predictions
    resolutions      which images to make, some of ``config.resolutions`` (default: all three)
    relation_scores  whether to compute the auxiliary scores as well (their published loss weight is 0)
    windows          paint these parts only: noise, layout and images are then those of the M windows, for training

    Differentiable in boxes, noise and weights. Under autocast the graph part and the masks stay in the weights'
    precision; the upsampling and the decoder, nearly all of the arithmetic, follow autocast.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.gconv_hidden_dim
        self.encoder = GraphEncoder(config.embedding_dim, hidden, config.gconv_dim, config.gconv_num_layers)
        self.box_head = MLP(config.gconv_dim, hidden, 4)
        self.relation_head = MLP(2 * 4 + 2 * config.embedding_dim, hidden, NUM_RELATION_ROWS)
        self.apply(init_linear_kaiming)
        init_box_head(self.box_head)
        self.mask_refiner = MaskRefiner(config.mask_hidden_dim, config.mask_size)
        self.upsampler = LayoutUpsampler(config.gconv_dim)
        self.symbol_vectors = nn.Embedding(NUM_SYMBOL_ROWS, config.symbol_channels) if config.symbol_channels else None
        self.decoder = ImageDecoder(
            config.layout_channels + config.layout_noise_dim,
            config.refinement_dims,
            config.image_channels,
            config.image_size,
        )

    def forward(
        self,
        graph: GraphBatch,
        noise: Tensor,
        boxes: Tensor | None = None,
        resolutions: Collection[int] | None = None,
        relation_scores: bool = False,
        windows: Windows | None = None,
    ) -> ImageOutput:
        config = self.config
        painted = graph.num_graphs if windows is None else len(windows.expression)
        side = 4 * (config.mask_size if windows is None else windows.side)
        expected = (painted, config.layout_noise_dim, side, side)
        if tuple(noise.shape) != expected:
            raise ValueError(f"noise must be {expected}, got {tuple(noise.shape)}")
        if boxes is not None and tuple(boxes.shape) != (len(graph.symbols), 4):
            raise ValueError(f"boxes must be ({len(graph.symbols)}, 4), got {tuple(boxes.shape)}")
        with torch.autocast(noise.device.type, enabled=False):
            nodes, _ = self.encoder(graph.symbols, graph.edge_index, graph.edge_type)
            predicted = self.box_head(nodes)
            used = predicted if boxes is None else boxes
            masks = self.mask_refiner(used)
            layout = ops.compose_layout(masks, nodes, graph.batch, graph.num_graphs)
            scores = self.relation_scores(graph, predicted) if relation_scores else None
            in_boxes = self.compose_in_boxes(graph, used) if config.box_coordinates else None
        if windows is not None:
            layout = windows.cut(layout, 1)
            in_boxes = None if in_boxes is None else windows.cut(in_boxes, 1)
        layout = self.upsampler(layout)
        layers = [layout]
        if in_boxes is not None:
            in_boxes = F.interpolate(match_format(in_boxes, layout), scale_factor=4.0, mode="bilinear")
            layers.append(in_boxes)
        layout = torch.cat([*layers, match_format(noise, layout)], dim=1)
        images = self.decoder(layout, resolutions)
        return ImageOutput(images, predicted, masks, layout[:, : config.layout_channels], scores)

    def compose_in_boxes(self, graph: GraphBatch, boxes: Tensor) -> Tensor:
        """The extension's channels (N, 5 + symbol_channels, 64, 64), see :mod:`hmeg.model.box_coordinates`."""
        vectors = None if self.symbol_vectors is None else self.symbol_vectors(graph.symbols)
        return compose_in_boxes(vectors, boxes, graph.batch, self.config.mask_size, graph.num_graphs)

    def relation_scores(self, graph: GraphBatch, predicted_boxes: Tensor) -> Tensor:
        """Auxiliary scores (E, 13) of every edge's relation, from predicted boxes and symbol embeddings."""
        embedded = self.encoder.symbol_embedding(graph.symbols)
        subject, object_ = graph.edge_index
        parts = [predicted_boxes[subject], predicted_boxes[object_], embedded[subject], embedded[object_]]
        scores: Tensor = self.relation_head(torch.cat(parts, dim=1))
        return scores
