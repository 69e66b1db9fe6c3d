"""The whole pipeline on padded dense graphs, of standard operators only: what ``hmeg export onnx --part full`` holds.

An expression's graph is complete, so its relations are a matrix and message passing needs no indices: what an edge
reads of its subject and its object are two broadcast sums, pooling is a masked sum over rows and over columns. No shape
depends on values, nothing loops over data. The same function as :class:`hmeg.model.HMEG` as
:class:`hmeg.generation.generator.Generator` runs it (boxes are put upright before anything is drawn in them), to
rounding; padding has no influence on it, whatever it holds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmeg.model import HMEG, ModelConfig
from hmeg.model.box_coordinates import NUM_FEATURES, SMALLEST_SIDE, box_features, coordinate_channels
from hmeg.model.box_ramps import edge_distances, soft_sides
from hmeg.model.composition import Composition
from hmeg.model.glyphs import GlyphAtlas, hat_weights
from hmeg.model.layout import AttentionReadout, LayoutGenerator, box_numbers, inside_image
from hmeg.model.mask import MaskRefiner
from hmeg.model.triple_conv import GraphEncoder, GraphTripleConv

from .decoder_part import DecoderPart


class DensePipeline(nn.Module):
    """Graphs and noise to boxes, masks and images.

    forward(symbols, relations, counts, box_noise, image_noise, boxes_given, boxes, typeset_boxes=None)
    -> boxes, masks, one image tensor for each of ``config.resolutions``, ascending. N expressions of up to S symbols:

    symbols        (N, S) int64       classes of :mod:`hmeg.graph.vocabulary`
    relations      (N, S, S) int64    edge types, row subject, column object (``SymbolGraph.edge_type_matrix``)
    counts         (N,) int64         symbols of each expression, 1 to S; rows and columns from there on are padding
    box_noise      (N, S, layout.noise_dim) standard normal
    image_noise    (N, image.noise_dim, 256, 256) standard normal, of the type of upsampler and decoder
    boxes_given    (N,) bool          which expressions are drawn at ``boxes`` instead of generated ones
    boxes          (N, S, 4)          x0, y0, x1, y1 in [0, 1] of the image
    typeset_boxes  (N, S, 4)          for models with ``config.layout.prior`` only: where the rule-based typesetter
                                      (:mod:`hmeg.graph.typeset`) puts the symbols

    boxes          (N, S, 4) upright, those drawn in; 0 in padding
    masks          (N, S, 64, 64) learned soft masks; 0 in padding
    images         (N, image.channels, r, r), of the type of upsampler and decoder

    A copy of the model's weights for upsampler and decoder, the rest is shared with it. No gradients are kept from
    flowing, but it is made for inference. :func:`hmeg.export.padding.padded` makes the inputs; ``merged`` is that of
    :class:`hmeg.export.decoder_part.DecoderPart`.
    """

    def __init__(self, model: HMEG, merged: bool = True) -> None:
        super().__init__()
        self.config: ModelConfig = model.config
        painter = model.image_model
        self.layout = DenseLayoutGenerator(model.layout_generator)
        self.encoder = DenseGraphEncoder(painter.encoder)
        self.masks = DenseMasks(painter.mask_refiner)
        self.symbol_vectors = painter.symbol_vectors
        self.glyphs = None if painter.glyphs is None else DenseGlyphs(painter.glyphs, model.config.image.size)
        self.decoder = DecoderPart(model, merged)
        self.eval()

    def forward(
        self, symbols: Tensor, relations: Tensor, counts: Tensor, box_noise: Tensor, image_noise: Tensor,
        boxes_given: Tensor, boxes: Tensor, typeset_boxes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        there = torch.arange(symbols.shape[1], device=symbols.device) < counts[:, None]
        rows = there[:, :, None]
        # Padding may hold anything, NaN too, so it is replaced, not multiplied by zero.
        symbols = symbols.where(there, 0)
        relations = relations.where(rows & there[:, None], 0)
        box_noise = box_noise.where(rows, 0)
        if typeset_boxes is not None:
            typeset_boxes = typeset_boxes.where(rows, 0)
        weight = there.to(box_noise.dtype)
        generated = self.layout(symbols, relations, weight, box_noise, typeset_boxes)
        used = _upright(torch.where(boxes_given[:, None, None], boxes, generated)).where(rows, 0)
        nodes = self.encoder(symbols, relations, weight) * weight[:, :, None]
        masks = self.masks(used) * weight[:, :, None, None]
        composition = Composition(
            nodes=_composed(nodes, masks),
            in_boxes=self._in_boxes(symbols, used, weight) if self.config.image.box_coordinates else None,
            glyphs=None if self.glyphs is None else self.glyphs(symbols, used, there, box_noise[:, :, 0]),
        )
        return used, masks, *self.decoder(**composition.to(image_noise.dtype).decoder_inputs(image_noise))

    def _in_boxes(self, symbols: Tensor, boxes: Tensor, weight: Tensor) -> Tensor:
        """:func:`hmeg.model.box_coordinates.compose_in_boxes`: (N, 5 + image.symbol_channels, 64, 64)."""
        batch, most = symbols.shape
        size = self.config.image.mask_size
        boxes = ((boxes * size - 0.5) / (size - 1)).flatten(0, 1)
        features = box_features(boxes).unflatten(0, (batch, most))
        if self.symbol_vectors is not None:
            features = torch.cat([features, self.symbol_vectors(symbols)], dim=2)
        x0, y0, x1, y1 = boxes.unbind(1)
        masks = soft_sides(y0, y1, size)[:, :, None] * soft_sides(x0, x1, size)[:, None, :]
        composed = _composed(features * weight[:, :, None], masks.unflatten(0, (batch, most)))
        return torch.cat([coordinate_channels(composed[:, :NUM_FEATURES]), composed[:, NUM_FEATURES:]], dim=1)


class DenseTripleConv(nn.Module):
    """:class:`hmeg.model.triple_conv.GraphTripleConv` on complete graphs.

    forward(x (N, S, C), edges (N, S, S, C) or a table (R, C) read at relations, relations (N, S, S), weight (N, S): 1
    for symbols, 0 for padding, return_edges) -> x' (N, S, C'), edges' (N, S, S, C') or None.
    """

    def __init__(self, conv: GraphTripleConv) -> None:
        super().__init__()
        self.conv = conv

    def forward(
        self, x: Tensor, edges: Tensor, relations: Tensor, weight: Tensor, return_edges: bool
    ) -> tuple[Tensor, Tensor | None]:
        hidden_layer, out_layer, node = self.conv.edge.hidden, self.conv.edge.out, self.conv.node
        of_subject, of_edge, of_object = hidden_layer.weight.split(x.shape[2], dim=1)
        own = F.linear(edges, of_edge, hidden_layer.bias)
        if edges.dim() == 2:
            own = F.embedding(relations, own)
        subject, object_ = F.linear(x, of_subject)[:, :, None], F.linear(x, of_object)[:, None]
        hidden = F.relu(subject + own + object_)
        width = node.hidden.in_features
        parts = [width, out_layer.out_features - 2 * width, width]
        weights, biases = out_layer.weight.split(parts), out_layer.bias.split(parts)
        for_subject, for_object = (F.relu(F.linear(hidden, weights[i], biases[i])) for i in (0, 2))
        pooled = (for_subject * weight[:, None, :, None]).sum(2) + (for_object * weight[:, :, None, None]).sum(1)
        # Each of n symbols is the subject of n relations, itself included, and the object of n.
        pooled = pooled / (2 * weight.sum(1)).clamp(min=1)[:, None, None]
        return node(pooled), F.relu(F.linear(hidden, weights[1], biases[1])) if return_edges else None


class DenseGraphEncoder(nn.Module):
    """:class:`hmeg.model.triple_conv.GraphEncoder` on complete graphs.

    forward(symbols (N, S), relations (N, S, S), weight (N, S), extra (N, S, C) or None) -> nodes (N, S, dim).
    """

    def __init__(self, encoder: GraphEncoder) -> None:
        super().__init__()
        self.symbols, self.relations = encoder.symbol_embedding, encoder.relation_embedding
        self.layers = nn.ModuleList(DenseTripleConv(layer) for layer in encoder.convs.layers)  # type: ignore[arg-type]

    def forward(self, symbols: Tensor, relations: Tensor, weight: Tensor, extra: Tensor | None = None) -> Tensor:
        x: Tensor = self.symbols(symbols)
        x = x if extra is None else x + extra
        edges, last = self.relations.weight, len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            x, edges = layer(x, edges, relations, weight, i < last)
        return x


class DenseLayoutGenerator(nn.Module):
    """:class:`hmeg.model.layout.LayoutGenerator` on complete graphs.

    forward(symbols, relations, weight, noise (N, S, D), typeset_boxes (N, S, 4) or None) -> boxes (N, S, 4).
    """

    def __init__(self, generator: LayoutGenerator) -> None:
        super().__init__()
        self.generator = generator
        self.encoder = DenseGraphEncoder(generator.encoder)

    def forward(
        self, symbols: Tensor, relations: Tensor, weight: Tensor, noise: Tensor, typeset_boxes: Tensor | None
    ) -> Tensor:
        model = self.generator
        boxes: Tensor
        noise = model.with_shared(noise, noise[:, :1].expand_as(noise))
        if not model.config.layout.prior:
            nodes = self.encoder(symbols, relations, weight)
            boxes = model.box_head(torch.cat([nodes, _whole(model.readout, nodes, weight), noise], dim=2))
            return boxes
        assert typeset_boxes is not None
        prior = box_numbers(typeset_boxes)
        nodes = self.encoder(symbols, relations, weight, model.prior_embedding(prior))
        read = torch.cat([nodes, _whole(model.readout, nodes, weight), noise, prior], dim=2)
        boxes = inside_image(typeset_boxes + model.correction(read))
        return boxes


def _whole(readout: AttentionReadout, nodes: Tensor, weight: Tensor) -> Tensor:
    """The expression's vector (:class:`hmeg.model.layout.AttentionReadout`) for each of its symbols: (N, S, C)."""
    rows = weight[:, :, None]
    mean = (nodes * rows).sum(1, keepdim=True) / weight.sum(1).clamp(min=1)[:, None, None]
    context = torch.tanh(mean @ readout.weight)
    score = torch.sigmoid((nodes * context).sum(2, keepdim=True))
    return (score * nodes * rows).sum(1, keepdim=True).expand_as(nodes)


class DenseMasks(nn.Module):
    """:class:`hmeg.model.mask.MaskRefiner` in evaluation mode: boxes (N, S, 4) -> masks (N, S, size, size).

    Two convolutions and nothing between them but ReLU: the norm's scale moves into the second one's weights. Its shift
    cannot, for that convolution's padding is zero after the norm; what it adds is the same map for every box.
    """

    weight: Tensor  # (1, hidden, 3, 3)
    shift_map: Tensor  # (1, 1, size, size)

    def __init__(self, refiner: MaskRefiner) -> None:
        super().__init__()
        weights, norm = refiner.weights, refiner.norm
        self.size = refiner.size
        self.conv1 = refiner.conv1
        scale = weights.bn_weight.double() / torch.sqrt(weights.running_var.double() + norm.eps)
        shift = weights.bn_bias.double() - scale * weights.running_mean.double()
        second = weights.conv2_weight.double()
        constant = shift[None, :, None, None].expand(1, -1, self.size, self.size)
        added = F.conv2d(constant, second, weights.conv2_bias.double(), padding=1)
        self.register_buffer("weight", (second * scale[:, None, None]).detach().to(weights.conv2_weight))
        self.register_buffer("shift_map", added.detach().to(weights.conv2_weight))

    def forward(self, boxes: Tensor) -> Tensor:
        hidden = F.relu(self.conv1(edge_distances(boxes.flatten(0, 1), self.size)))
        masks = torch.sigmoid(F.conv2d(hidden, self.weight, padding=1) + self.shift_map)
        return masks[:, 0].unflatten(0, boxes.shape[:2])


class DenseGlyphs(nn.Module):
    """:class:`hmeg.model.glyphs.GlyphAtlas` on whole images, the choice of modes included.

    forward(symbols (N, S), boxes (N, S, 4), there (N, S) bool, style (N, S)) -> (N, channels, side, side).
    """

    def __init__(self, atlas: GlyphAtlas, side: int) -> None:
        super().__init__()
        self.atlas = atlas
        self.side = side

    def choose(self, symbols: Tensor, boxes: Tensor, there: Tensor, style: Tensor) -> Tensor:
        """Modes (N, S) int64, as :meth:`hmeg.model.glyphs.GlyphAtlas.choose` has them."""
        most = symbols.shape[1]
        rows = torch.arange(most, device=symbols.device)
        same = (symbols[:, :, None] == symbols[:, None]) & there[:, None]
        first = torch.where(same, rows, most - 1).amin(dim=2)
        side = (boxes[..., 2:] - boxes[..., :2]).clamp(min=SMALLEST_SIDE)
        # 1/2 (1 + erf) is the normal distribution; the ends as the model has them
        uniform = (0.5 * (1 + torch.erf(style * math.sqrt(0.5)))).clamp(max=1 - 2**-20)
        uniform, sides = uniform.gather(1, first), side.log().gather(1, first[:, :, None].expand(-1, -1, 2))
        limits = torch.cumsum(self.atlas.likelihood(symbols, sides), dim=2)
        return (uniform[:, :, None] * limits[:, :, -1:] >= limits[:, :, :-1]).to(torch.int64).sum(dim=2)

    def forward(self, symbols: Tensor, boxes: Tensor, there: Tensor, style: Tensor) -> Tensor:
        atlas, (batch, most) = self.atlas, symbols.shape
        modes = self.choose(symbols, boxes, there, style)
        channels, cells = atlas.glyphs.shape[1:3]
        glyphs = F.embedding(symbols * atlas.modes + modes, atlas.glyphs.flatten(1))
        glyphs = (glyphs * there[:, :, None].to(glyphs.dtype)).reshape(batch, most, channels, cells, cells)
        places = (torch.arange(self.side, device=boxes.device, dtype=boxes.dtype) + 0.5) / self.side
        places = places.expand(batch * most, -1)
        x0, y0, x1, y1 = boxes.flatten(0, 1).unbind(1)
        shares = atlas.shares(symbols.flatten(), boxes.flatten(0, 1))
        columns = hat_weights(places, x0, x1, cells, shares).reshape(batch, most, self.side, cells)
        rows = hat_weights(places, y0, y1, cells).reshape(batch, most, 1, self.side, cells)
        # One product over symbols and cells together: no image per symbol ever exists.
        stretched = (rows @ glyphs).permute(0, 2, 3, 1, 4).reshape(batch, channels, self.side, most * cells)
        across = columns.permute(0, 1, 3, 2).reshape(batch, 1, most * cells, self.side)
        return stretched @ across


def _composed(features: Tensor, masks: Tensor) -> Tensor:
    """features (N, S, C), masks (N, S, H, W) -> (N, C, H, W): the sum over symbols of mask times feature."""
    return (features.transpose(1, 2) @ masks.flatten(2)).unflatten(2, masks.shape[2:])


def _upright(boxes: Tensor) -> Tensor:
    """:func:`hmeg.model.display.upright`, (..., 4)."""
    first, second = boxes[..., :2], boxes[..., 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], dim=-1)
