"""CAN's encoder: a DenseNet from an image to features at 1/16 of its size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import CanConfig

REDUCTION = 16  # pixels a side for one position of the features


class Bottleneck(nn.Module):
    """Adds ``growth`` channels to its input (N, C, H, W)."""

    def __init__(self, channels: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(growth)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        narrow = self.dropout(F.relu(self.bn1(self.conv1(x)), inplace=True))
        if mask is not None:
            narrow = narrow * mask  # the only convolution here that looks beyond its own position
        return torch.cat([x, self.dropout(F.relu(self.bn2(self.conv2(narrow)), inplace=True))], dim=1)


class Transition(nn.Module):
    """Halves channels and size, odd sizes rounded up."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.dropout(F.relu(self.bn1(self.conv1(x)), inplace=True))
        if mask is None:
            return F.avg_pool2d(x, 2, ceil_mode=True)
        # At an odd border torch divides by the pixels that there are; so does this at the mask's.
        inside = F.avg_pool2d(mask, 2, ceil_mode=True)
        return F.avg_pool2d(x * mask, 2, ceil_mode=True) / inside.clamp(min=0.25)


class Encoder(nn.Module):
    """forward(images (N, 1, H, W), mask or None) -> features (N, config.features, ceil(H / 16), ceil(W / 16)).

    images  1 is ink, 0 is paper and what fills a batch up
    mask    (N, 1, H, W), 1 on each image and 0 where it was filled up to the batch's size. With it every image's
            features are those it has alone, up to rounding, and zero outside. None: convolutions see whatever the
            filling has become on the way, as published
    Differentiable in the images.
    """

    def __init__(self, config: CanConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2 * config.growth, 7, stride=2, padding=3, bias=False)
        for block, (first, last) in enumerate(config.block_channels, 1):
            layers = [
                Bottleneck(first + i * config.growth, config.growth, config.encoder_dropout)
                for i in range(config.layers)
            ]
            setattr(self, f"dense{block}", nn.ModuleList(layers))
            if block < len(config.block_channels):
                setattr(self, f"trans{block}", Transition(last, config.encoder_dropout))

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        x = F.relu(self.conv1(images), inplace=True)
        # Every halving rounds up, so the mask at 1/s of the size is every s-th pixel of it.
        if mask is not None:
            mask = mask.to(x.dtype)
            x = x * mask[:, :, ::2, ::2]
        x = F.max_pool2d(x, 2, ceil_mode=True)
        for block, step in ((1, 4), (2, 8), (3, 16)):
            here = None if mask is None else mask[:, :, ::step, ::step]
            for layer in getattr(self, f"dense{block}"):
                x = layer(x, here)
            if block < 3:
                x = getattr(self, f"trans{block}")(x, here)
        return x if mask is None else x * mask[:, :, ::16, ::16]
