"""Images as the published implementation makes them: one expression at a time, eager, every tensor materialised.

Textbook PyTorch on the weights of our modules, written from the paper and from what the published networks are known to
compute (tests/model/test_parity.py holds our modules to their numbers). What the published code computes and nothing
reads (a second mask network, an all-zero first feature map) is left out, in its favour.
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from hmeg.graph.latex import parse_latex
from hmeg.model import HMEG
from hmeg.model.decoder import ImageDecoder
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.layout import LayoutGenerator
from hmeg.model.mask import MaskRefiner
from hmeg.model.triple_conv import GraphEncoder
from hmeg.reference.refine_masks import coordinate_ramps


def graph_convolutions(encoder: GraphEncoder, graph: GraphBatch) -> Tensor:
    """Nodes (V, C): every edge's [subject ; relation ; object] gathered, sums scattered."""
    x, edges = encoder.symbol_embedding(graph.symbols), encoder.relation_embedding(graph.edge_type)
    subject, object_ = graph.edge_index
    for layer in encoder.convs.layers:
        width = layer.node.hidden.in_features
        hidden = layer.edge(torch.cat([x[subject], edges, x[object_]], dim=1))
        for_subject, edges, for_object = hidden.split([width, hidden.shape[1] - 2 * width, width], dim=1)
        pooled, count = torch.zeros(len(x), width), torch.zeros(len(x))
        for end, message in ((subject, for_subject), (object_, for_object)):
            pooled = pooled.scatter_add(0, end[:, None].expand_as(message), message)
            count = count.scatter_add(0, end, torch.ones(len(end)))
        x = layer.node(pooled / count.clamp(min=1)[:, None])
    return x


def boxes_of(generator: LayoutGenerator, graph: GraphBatch, noise: Tensor) -> Tensor:
    """The box network, with a loop over expressions for its read-out."""
    x = graph_convolutions(generator.encoder, graph)
    whole = []
    for number in range(graph.num_graphs):
        own = x[graph.batch == number]
        context = torch.tanh((own @ generator.readout.weight).mean(dim=0))
        score = torch.sigmoid(own @ context)
        whole.append((score[:, None] * own).sum(dim=0))
    boxes: Tensor = generator.box_head(torch.cat([x, torch.stack(whole)[graph.batch], noise], dim=1))
    return boxes


def soft_masks(refiner: MaskRefiner, boxes: Tensor) -> Tensor:
    """Learned masks with all their hidden channels."""
    hidden = refiner.norm(F.relu(refiner.conv1(coordinate_ramps(boxes, (refiner.size, refiner.size)))))
    return torch.sigmoid(refiner.conv2(hidden))


def front_end(model: HMEG, graph: GraphBatch, noise: Tensor) -> Tensor:
    """Graphs and noise (V, layout.noise_dim) to the composed layout (N, C, 64, 64)."""
    return layout_of(model, graph, boxes_of(model.layout_generator, graph, noise))


def layout_of(model: HMEG, graph: GraphBatch, boxes: Tensor) -> Tensor:
    """The composed layout (N, C, 64, 64) of boxes (V, 4)."""
    painter = model.image_model
    nodes = graph_convolutions(painter.encoder, graph)
    predicted = painter.box_head(nodes)
    painter.relation_scores(graph, predicted)
    painted = soft_masks(painter.mask_refiner, boxes) * nodes[:, :, None, None]
    rows = graph.batch[:, None, None, None].expand_as(painted)
    return torch.zeros(graph.num_graphs, *painted.shape[1:]).scatter_add(0, rows, painted)


def images(model: HMEG, layout: Tensor, noise: Tensor) -> dict[int, Tensor]:
    """The upsampled layout with noise through the refinement network, at all three resolutions."""
    return refined(model.image_model.decoder, torch.cat([model.image_model.upsampler(layout), noise], dim=1))


def refined(decoder: ImageDecoder, layout: Tensor) -> dict[int, Tensor]:
    """The refinement network alone."""
    first_head = len(decoder.stages) - len(decoder.heads)
    made: dict[int, Tensor] = {}
    features: Tensor | None = None
    for i, stage in enumerate(decoder.stages):
        x = F.avg_pool2d(layout, 2 ** (len(decoder.stages) - 1 - i))
        if features is not None:
            x = torch.cat([x, F.interpolate(features, scale_factor=2, mode="nearest")], dim=1)
        features = stage(x)
        if i >= first_head:
            image = decoder.heads[i - first_head](features)
            made[image.shape[-1]] = image
            features = torch.cat([features, image], dim=1)
    return made


@torch.no_grad()
def draw(model: HMEG, text: str, path: Path, image_noise: Tensor) -> None:
    """One expression from LaTeX to a PNG file in colour."""
    graph = GraphBatch.from_graphs([parse_latex(text)])
    layout = front_end(model, graph, torch.randn(len(graph.symbols), model.config.layout.noise_dim))
    image = images(model, layout, image_noise)[model.config.image.size][0]
    image = (image - image.min()) / (image.max() - image.min()) * 255
    pixels = image.round().to(torch.uint8).permute(1, 2, 0).numpy()
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG")
    path.write_bytes(encoded.getvalue())
