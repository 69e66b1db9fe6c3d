"""The three critics of adversarial training: of image patches, of single symbols, and of layouts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmeg import ops
from hmeg.graph import vocabulary

from .layout import AttentionReadout
from .triple_conv import NUM_RELATION_ROWS, NUM_SYMBOL_ROWS, GraphTripleConvStack, init_linear_xavier

CROP_SIZE = 32
SMALLEST_IMAGE = 22  # three unpadded convolutions of 4 x 4 with stride 2
_SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """A map of scores, each for one patch: forward(images (N, in_channels, H, W)) -> (N, 4 width, h, w).

    4x4 convolutions with stride 2 and no padding to ``width`` (64 published), 2 and 4 ``width`` channels, BatchNorm and
    leaky ReLU between them; all channels of the last are the score. H and W at least SMALLEST_IMAGE. Differentiable.
    """

    def __init__(self, in_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 4, stride=2)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 4, stride=2)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 4, stride=2)
        self.activation = nn.LeakyReLU(_SLOPE, inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        x = self.activation(self.norm1(self.conv1(images)))
        scores: Tensor = self.conv3(self.activation(self.norm2(self.conv2(x))))
        return scores


class ObjectDiscriminator(nn.Module):
    """Is each symbol's 32 x 32 crop real, and which symbol is it?

    forward(images (N, in_channels, H, W), boxes (V, 4), symbols (V,) or None, batch (V,))
    -> scores (V, 1), class_logits (V, 102). The auxiliary loss is cross-entropy of ``class_logits`` with ``symbols``;
    the network itself does not look at them. Differentiable in images, boxes and weights.
    """

    def __init__(self, in_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.patches = PatchDiscriminator(in_channels, width)
        self.features = nn.Linear(4 * width, 1024)
        self.real_head = nn.Linear(1024, 1)
        self.symbol_head = nn.Linear(1024, vocabulary.NUM_SYMBOL_CLASSES)

    def forward(self, images: Tensor, boxes: Tensor, symbols: Tensor | None, batch: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            crops = ops.crop_boxes(images.to(boxes.dtype), boxes, batch, (CROP_SIZE, CROP_SIZE))
        features = self.features(self.patches(crops).mean(dim=(2, 3)))
        return self.real_head(features), self.symbol_head(features)


class BoxStandardiser(nn.Module):
    """forward(boxes (V, 4)) -> (V, 4): (b - mean) / (std + 1e-7) per coordinate, statistics carry no gradient."""

    def forward(self, boxes: Tensor) -> Tensor:
        mean, std = self.statistics(boxes.detach())
        return (boxes - mean) / (std + 1e-7)

    def statistics(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and unbiased standard deviation (4,) each."""
        return boxes.mean(dim=0), boxes.std(dim=0, correction=1 if len(boxes) > 1 else 0)


class LayoutDiscriminator(nn.Module):
    """Is the arrangement of boxes that of a real expression?

    forward(symbols (V,), boxes (V, 4), edge_index (2, E), edge_type (E,), batch (V,), num_graphs) -> validity (N, 1)
    in (0, 1). Boxes are standardised over the whole batch, per coordinate, by statistics that carry no gradient.
    Training mode needs two symbols and two expressions at least (batch statistics). Differentiable in boxes and
    weights.
    """

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.symbol_embedding = nn.Embedding(NUM_SYMBOL_ROWS, dim)
        self.relation_embedding = nn.Embedding(NUM_RELATION_ROWS, dim)
        self.standardise = BoxStandardiser()
        self.fuse = nn.Sequential(nn.Linear(dim + 4, dim), nn.BatchNorm1d(dim), nn.ReLU())
        self.convs = GraphTripleConvStack(dim, dim, dim, 2)
        self.readout = AttentionReadout(dim)
        self.judge = nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, 1))
        self.apply(init_linear_xavier)

    def forward(
        self, symbols: Tensor, boxes: Tensor, edge_index: Tensor, edge_type: Tensor, batch: Tensor, num_graphs: int
    ) -> Tensor:
        with torch.autocast(boxes.device.type, enabled=False):
            nodes = self.fuse(torch.cat([self.symbol_embedding(symbols), self.standardise(boxes)], dim=1))
            nodes, _ = self.convs(nodes, self.relation_embedding.weight, edge_index, edge_type)
            return torch.sigmoid(self.judge(self.readout(nodes, batch, num_graphs)))
