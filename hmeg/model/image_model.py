"""The image model: a symbol graph, boxes and noise become images."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hmeg import ops

from .box_coordinates import compose_in_boxes
from .composition import Composition
from .config import ModelConfig
from .decoder import ImageDecoder
from .glyphs import GlyphAtlas
from .graph_batch import GraphBatch
from .inference_decoder import InferenceDecoder, InferenceUpsampler
from .mask import LayoutUpsampler, MaskRefiner
from .squares import Covering
from .triple_conv import MLP, NUM_RELATION_ROWS, GraphEncoder, init_box_head, init_linear_kaiming, symbol_rows
from .windows import Windows


@dataclass
class ImageOutput:
    """What :class:`ImageModel` computes.

    images           resolution -> (N, image.channels, r, r), no final nonlinearity; trained towards [0, 1]
    predicted_boxes  (V, 4) the model's own boxes, also when boxes were given
    masks            (V, 1, 64, 64) soft masks of the boxes used, in training mode or when asked for, else None
    layout           (N, layout_channels, 256, 256), noise not appended
    relation_scores  (E, 13) when asked for, else None
    """

    images: dict[int, Tensor]
    predicted_boxes: Tensor
    masks: Tensor | None
    layout: Tensor
    relation_scores: Tensor | None = None


class ImageModel(nn.Module):
    """Graph convolutions, learned masks, composed and upsampled layout, cascaded refinement.

    forward(graph, noise, boxes=None, resolutions=None, ...) -> :class:`ImageOutput`

    graph            expressions; ``graph.boxes`` is not read
    noise            (N, image.noise_dim, 256, 256) standard normal
    boxes            (V, 4) in [0, 1]; None uses the model's own predictions
    resolutions      which images to make, some of ``config.resolutions`` (default: all three)
    relation_scores  whether to compute the auxiliary scores as well (their published loss weight is 0)
    glyph_modes      (V,) int64: how each symbol is written, see :meth:`choose_glyphs`; None: the most frequent way.
                     Read only where ``config.glyph.channels`` is set
    glyph_ink        (V, glyph.size, glyph.size) in [0, 1]: pictures to draw from instead of the learned ones' first
                     channel, for training; with ``config.glyph.channels`` only
    windows          paint these parts only: noise, layout and images are then those of the M windows, for training
    masks            whether the soft masks are wanted in evaluation mode too; the layout does not need them stored

    Differentiable in boxes, noise and weights. Under autocast the graph part and the masks stay in the weights'
    precision; the upsampling and the decoder, nearly all of the arithmetic, follow autocast.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        image, glyph = config.image, config.glyph
        hidden = image.gconv_hidden_dim
        self.encoder = GraphEncoder(image.embedding_dim, hidden, image.gconv_dim, image.gconv_num_layers, image.symbols)
        self.box_head = MLP(image.gconv_dim, hidden, 4)
        self.relation_head = MLP(2 * 4 + 2 * image.embedding_dim, hidden, NUM_RELATION_ROWS)
        self.apply(init_linear_kaiming)
        init_box_head(self.box_head)
        self.mask_refiner = MaskRefiner(image.mask_hidden_dim, image.mask_size)
        self.upsampler = LayoutUpsampler(image.gconv_dim)
        self.glyphs = (
            GlyphAtlas(glyph.channels, glyph.size, glyph.modes, glyph.hooks, glyph.fit, image.symbols)
            if glyph.channels
            else None
        )
        self.symbol_vectors = (
            nn.Embedding(symbol_rows(image.symbols), image.symbol_channels) if image.symbol_channels else None
        )
        self.decoder = ImageDecoder(
            config.layout_channels + image.noise_dim, image.refinement_dims, image.channels, image.size
        )

    def forward(
        self,
        graph: GraphBatch,
        noise: Tensor,
        boxes: Tensor | None = None,
        resolutions: Collection[int] | None = None,
        relation_scores: bool = False,
        windows: Windows | None = None,
        glyph_modes: Tensor | None = None,
        masks: bool = False,
        glyph_ink: Tensor | None = None,
    ) -> ImageOutput:
        sizes = self.config.image
        painted = graph.num_graphs if windows is None else len(windows.expression)
        side = 4 * (sizes.mask_size if windows is None else windows.side)
        expected = (painted, sizes.noise_dim, side, side)
        if tuple(noise.shape) != expected:
            raise ValueError(f"noise must be {expected}, got {tuple(noise.shape)}")
        if boxes is not None and tuple(boxes.shape) != (len(graph.symbols), 4):
            raise ValueError(f"boxes must be ({len(graph.symbols)}, 4), got {tuple(boxes.shape)}")
        with torch.autocast(noise.device.type, enabled=False):
            nodes, _ = self.encoder(graph.symbols, graph.edge_index, graph.edge_type, structure=graph.structure)
            predicted = self.box_head(nodes)
            used = predicted if boxes is None else boxes
            soft_masks = self.mask_refiner(used) if masks or self.mask_refiner.training else None
            composition = self._compose(graph, nodes, used, soft_masks, glyph_modes, windows, glyph_ink)
            scores = self.relation_scores(graph, predicted) if relation_scores else None
        layout = composition.upsampled(self.upsampler, noise)
        images = self.decoder(layout, resolutions)
        return ImageOutput(images, predicted, soft_masks, layout[:, : self.config.layout_channels], scores)

    def compose(
        self,
        graph: GraphBatch,
        boxes: Tensor,
        glyph_modes: Tensor | None = None,
        shape: tuple[int, int] | None = None,
    ) -> Composition:
        """All that comes before upsampler and decoder, which may then run elsewhere (:mod:`hmeg.export.runtime`).

        shape  rows and columns of the images in pixels, multiples of 4; ``boxes`` are then in units of the training
               square, ``image.size`` pixels, from the upper left corner. None: that square itself.
        """
        nodes, _ = self.encoder(graph.symbols, graph.edge_index, graph.edge_type, structure=graph.structure)
        if shape in (None, (self.config.image.size, self.config.image.size)):
            return self._compose(graph, nodes, boxes, None, glyph_modes, None)
        assert shape is not None
        return self._compose_on_canvas(graph, nodes, boxes, glyph_modes, (shape[0] // 4, shape[1] // 4))

    def _compose_on_canvas(
        self, graph: GraphBatch, nodes: Tensor, boxes: Tensor, glyph_modes: Tensor | None, cells: tuple[int, int]
    ) -> Composition:
        config = self.config
        covering = Covering(cells, config.image.mask_size)
        layout = covering.compose(self.mask_refiner.compose, boxes, nodes, graph.batch, graph.num_graphs)
        in_boxes = self.compose_in_boxes(graph, boxes, cells) if config.image.box_coordinates else None
        glyphs = None
        if config.glyph.channels:
            windows = Windows.whole(graph.num_graphs, cells, boxes.device)
            glyphs = self.place_glyphs(graph, glyph_modes, boxes, windows)
        return Composition(layout, in_boxes, glyphs)

    def _compose(
        self,
        graph: GraphBatch,
        nodes: Tensor,
        boxes: Tensor,
        soft_masks: Tensor | None,
        glyph_modes: Tensor | None,
        windows: Windows | None,
        glyph_ink: Tensor | None = None,
    ) -> Composition:
        """soft_masks (V, 1, 64, 64) if they are there already, else they are never stored."""
        if soft_masks is None:
            layout = self.mask_refiner.compose(boxes, nodes, graph.batch, graph.num_graphs)
        else:
            layout = ops.compose_layout(soft_masks, nodes, graph.batch, graph.num_graphs)
        in_boxes = self.compose_in_boxes(graph, boxes) if self.config.image.box_coordinates else None
        glyphs = None
        if self.config.glyph.channels:
            glyphs = self.place_glyphs(graph, glyph_modes, boxes, windows, glyph_ink)
        if windows is not None:
            layout = windows.cut(layout, 1)
            in_boxes = None if in_boxes is None else windows.cut(in_boxes, 1)
        return Composition(layout, in_boxes, glyphs)

    def for_inference(self) -> ImageModel:
        """This model with upsampler and decoder made for inference; the rest is shared with this one, not copied."""
        made = copy.copy(self)
        made._modules = {
            **self._modules,
            "upsampler": InferenceUpsampler(self.upsampler),
            "decoder": InferenceDecoder(self.decoder),
        }
        return made.eval()

    def compose_in_boxes(self, graph: GraphBatch, boxes: Tensor, cells: tuple[int, int] | None = None) -> Tensor:
        """The extension's channels (N, 5 + image.symbol_channels, 64, 64), see :mod:`hmeg.model.box_coordinates`.

        cells  rows and columns instead of 64 x 64
        """
        vectors = None if self.symbol_vectors is None else self.symbol_vectors(graph.symbols)
        return compose_in_boxes(vectors, boxes, graph.batch, self.config.image.mask_size, graph.num_graphs, cells)

    def choose_glyphs(self, graph: GraphBatch, boxes: Tensor, style: Tensor) -> Tensor | None:
        """Glyph modes (V,) for boxes (V, 4), by style (V,) standard normal; None if there are no learned glyphs."""
        return None if self.glyphs is None else self.glyphs.choose(graph.symbols, boxes, graph.batch, style)

    def place_glyphs(
        self,
        graph: GraphBatch,
        modes: Tensor | None,
        boxes: Tensor,
        windows: Windows | None,
        ink: Tensor | None = None,
    ) -> Tensor:
        """Learned glyphs in their boxes (N or M, glyph.channels, 256 or less), see :mod:`hmeg.model.glyphs`."""
        assert self.glyphs is not None
        size = self.config.image.mask_size
        windows = windows or Windows.whole(graph.num_graphs, size, boxes.device)
        modes = self.glyphs.frequency[graph.symbols].argmax(dim=1) if modes is None else modes
        placed: Tensor = self.glyphs(graph.symbols, modes, boxes, graph.batch, windows, graph.num_graphs, size, ink)
        return placed

    def relation_scores(self, graph: GraphBatch, predicted_boxes: Tensor) -> Tensor:
        """Auxiliary scores (E, 13) of every edge's relation, from predicted boxes and symbol embeddings."""
        embedded = self.encoder.symbol_embedding(graph.symbols)
        subject, object_ = graph.edge_index
        parts = [predicted_boxes[subject], predicted_boxes[object_], embedded[subject], embedded[object_]]
        scores: Tensor = self.relation_head(torch.cat(parts, dim=1))
        return scores
