"""The cascaded refinement network: a layout becomes images at three resolutions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import upsampling

SLOPE = 0.2


class RefinementStage(nn.Module):
    """Twice convolution, BatchNorm, leaky ReLU.

    forward(layout (N, L, H, W), features (N, F, H / 2, W / 2) or None) -> (N, out, H, W), of ``in_channels`` = L + F
    channels: the layout's, then the features', upsampled (nearest).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, layout: Tensor, features: Tensor | None = None) -> Tensor:
        x = self.conv1(layout) if features is None else upsampling.conv_beside(self.conv1, layout, features)
        x = F.leaky_relu(self.norm1(x), SLOPE, inplace=True)
        return F.leaky_relu(self.norm2(self.conv2(x)), SLOPE, inplace=True)


class ImageHead(nn.Module):
    """Features to image: 3x3 convolution, leaky ReLU, 1x1 convolution; no final nonlinearity."""

    def __init__(self, in_channels: int, image_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.out = nn.Conv2d(in_channels, image_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        image: Tensor = self.out(F.leaky_relu(self.conv(x), SLOPE, inplace=True))
        return image


class ImageDecoder(nn.Module):
    """Coarse to fine: every stage sees the layout at its own resolution beside the features from the stage before.

    forward(layout (N, layout_channels, S, S), resolutions) -> {r: image (N, image_channels, r, r)}. S is
    ``image_size``; the last three stages make images of sides S/4, S/2 and S; only the stages that ``resolutions``
    need are run. Each smaller image is fed to the next stage, so it is computed even when not asked for.
    Images have no final nonlinearity. Differentiable; fit for autocast and channels_last. Features are convolved before
    they are upsampled (:mod:`hmeg.model.upsampling`), which is the same function with fewer multiply-adds.

    The published network starts from an all-zero feature map; here its weights simply do not exist
    (:mod:`hmeg.model.published` drops them).
    """

    def __init__(self, layout_channels: int, dims: Sequence[int], image_channels: int, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.resolutions = (image_size // 4, image_size // 2, image_size)
        self.stages = nn.ModuleList()
        for i, dim in enumerate(dims):
            features = dims[i - 1] if i else 0
            image = image_channels if i > len(dims) - 3 else 0
            self.stages.append(RefinementStage(layout_channels + features + image, dim))
        self.heads = nn.ModuleList(ImageHead(dim, image_channels) for dim in dims[-3:])

    def forward(self, layout: Tensor, resolutions: Collection[int] | None = None) -> dict[int, Tensor]:
        wanted = check_resolutions(resolutions, self.resolutions)
        first_head = len(self.stages) - len(self.heads)
        last_stage = first_head + self.resolutions.index(max(wanted))
        images: dict[int, Tensor] = {}
        features: Tensor | None = None
        for i, at_resolution in enumerate(layout_pyramid(layout, len(self.stages))[: last_stage + 1]):
            features = self.stages[i](at_resolution, features)
            if i >= first_head:
                resolution = self.resolutions[i - first_head]
                image = self.heads[i - first_head](features)
                if resolution in wanted:
                    images[resolution] = image
                if i < last_stage:
                    features = torch.cat([features, image], dim=1)
        return images


def check_resolutions(wanted: Collection[int] | None, there: Collection[int]) -> Collection[int]:
    """``wanted``, or all that are ``there`` for None; ``ValueError`` for others and for an empty selection."""
    wanted = there if wanted is None else wanted
    if not wanted or not set(wanted) <= set(there):
        raise ValueError(f"resolutions must be some of {tuple(there)}, got {tuple(wanted)}")
    return wanted


def layout_pyramid(layout: Tensor, levels: int) -> list[Tensor]:
    """The layout (N, C, H, W) at that many resolutions, each twice the one before; a mean of means is the mean."""
    pyramid = [layout]
    for _ in range(levels - 1):
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    return pyramid[::-1]
