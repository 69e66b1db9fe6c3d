"""HMEG, the whole pipeline: symbol graph -> boxes -> soft masks -> images."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from .config import ModelConfig
from .graph_batch import GraphBatch
from .image_model import ImageModel, ImageOutput
from .layout import LayoutGenerator


class HMEG(nn.Module):
    """Layout generator and image model under one roof.

    forward(graph, box_noise (V, layout.noise_dim), image_noise (N, image.noise_dim, 256, 256), resolutions=None)
    -> boxes (V, 4), :class:`hmeg.model.image_model.ImageOutput` made from those boxes.

    All randomness comes in as noise: same inputs, same outputs. ``metadata`` and ``weights_id`` are filled in by
    :func:`hmeg.model.checkpoint.load_weights`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.layout_generator = LayoutGenerator(config)
        self.image_model = ImageModel(config)
        self.metadata: dict[str, str] = {}
        self.weights_id: str | None = None

    def forward(
        self, graph: GraphBatch, box_noise: Tensor, image_noise: Tensor, resolutions: Collection[int] | None = None
    ) -> tuple[Tensor, ImageOutput]:
        boxes = self.layout_generator(graph, box_noise)
        modes = self.image_model.choose_glyphs(graph, boxes, box_noise[:, 0])
        return boxes, self.image_model(graph, image_noise, boxes, resolutions, glyph_modes=modes)
