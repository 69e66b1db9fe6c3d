"""The image model: a symbol graph, boxes and noise become images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hmeg import ops
from hmeg.graph import GraphBatch

from . import box_coordinates
from .config import ModelConfig
from .decoder import ImageDecoder
from .mask import LayoutUpsampler, MaskRefiner, match_format
from .triple_conv import MLP, NUM_RELATION_ROWS, GraphEncoder, init_box_head, init_linear_kaiming


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


class ImageModel(nn.Module):
    """Graph convolutions, learned masks, composed and upsampled layout, cascaded refinement.

    forward(graph, noise, boxes=None, resolutions=None, relation_scores=False) -> :class:`ImageOutput`

    graph            expressions; ``graph.boxes`` is not read
    noise            (N, layout_noise_dim, 256, 256) standard normal
    boxes            (V, 4) in [0, 1]; None uses the model's own predictions
    resolutions      which images to make, some of ``config.resolutions`` (default: all three)
    relation_scores  whether to compute the auxiliary scores as well (their published loss weight is 0)

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
        self.upsampler = LayoutUpsampler(config.layout_channels)
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
    ) -> ImageOutput:
        config = self.config
        expected = (graph.num_graphs, config.layout_noise_dim, config.image_size, config.image_size)
        if tuple(noise.shape) != expected:
            raise ValueError(f"noise must be {expected}, got {tuple(noise.shape)}")
        if boxes is not None and tuple(boxes.shape) != (len(graph.symbols), 4):
            raise ValueError(f"boxes must be ({len(graph.symbols)}, 4), got {tuple(boxes.shape)}")
        with torch.autocast(noise.device.type, enabled=False):
            nodes, _ = self.encoder(graph.symbols, graph.edge_index, graph.edge_type)
            predicted = self.box_head(nodes)
            used = predicted if boxes is None else boxes
            masks = self.mask_refiner(used)
            layout = self.compose(nodes, masks, used, graph)
            scores = self.relation_scores(graph, predicted) if relation_scores else None
        layout = self.upsampler(layout)
        images = self.decoder(torch.cat([layout, match_format(noise, layout)], dim=1), resolutions)
        return ImageOutput(images, predicted, masks, layout, scores)

    def compose(self, nodes: Tensor, masks: Tensor, boxes: Tensor, graph: GraphBatch) -> Tensor:
        """Node vectors (V, gconv_dim) under their masks -> layout (N, layout_channels, 64, 64)."""
        if not self.config.box_coordinates:
            return ops.compose_layout(masks, nodes, graph.batch, graph.num_graphs)
        features = torch.cat([nodes, box_coordinates.box_features(boxes)], dim=1)
        composed = ops.compose_layout(masks, features, graph.batch, graph.num_graphs)
        layout, coordinates = composed.split([nodes.shape[1], box_coordinates.NUM_FEATURES], dim=1)
        return torch.cat([layout, box_coordinates.coordinate_channels(coordinates)], dim=1)

    def relation_scores(self, graph: GraphBatch, predicted_boxes: Tensor) -> Tensor:
        """Auxiliary scores (E, 13) of every edge's relation, from predicted boxes and symbol embeddings."""
        embedded = self.encoder.symbol_embedding(graph.symbols)
        subject, object_ = graph.edge_index
        parts = [predicted_boxes[subject], predicted_boxes[object_], embedded[subject], embedded[object_]]
        scores: Tensor = self.relation_head(torch.cat(parts, dim=1))
        return scores
