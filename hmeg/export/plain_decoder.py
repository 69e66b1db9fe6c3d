"""The decoder in ordinary convolutions: what runtimes know how to run fast, whatever they are."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from hmeg.model.decoder import SLOPE, ImageDecoder, RefinementStage, layout_pyramid


class PlainDecoder(nn.Module):
    """An :class:`hmeg.model.decoder.ImageDecoder` in evaluation mode: the same images, to rounding.

    forward(layout (N, layout_channels, S, S)) -> {r: (N, image_channels, r, r)}, for every resolution.

    Features are upsampled and concatenated with the layout before they are convolved, as published, and convolutions
    have taken in the batch norms behind them. More multiply-adds than the decoder itself, but no transposed
    convolution. A copy of the weights.
    """

    def __init__(self, decoder: ImageDecoder) -> None:
        super().__init__()
        self.resolutions = decoder.resolutions
        decoder = copy.deepcopy(decoder).eval()
        stages = cast("list[RefinementStage]", decoder.stages)
        self.first = nn.ModuleList(fuse_conv_bn_eval(stage.conv1, stage.norm1) for stage in stages)
        self.second = nn.ModuleList(fuse_conv_bn_eval(stage.conv2, stage.norm2) for stage in stages)
        self.heads = decoder.heads

    def forward(self, layout: Tensor) -> dict[int, Tensor]:
        first_head = len(self.first) - len(self.heads)
        images: dict[int, Tensor] = {}
        before: list[Tensor] = []  # features, and the smaller image where there is one
        for i, x in enumerate(layout_pyramid(layout, len(self.first))):
            upsampled = [F.interpolate(value, scale_factor=2, mode="nearest") for value in before]
            x = F.leaky_relu(self.first[i](torch.cat([x, *upsampled], dim=1)), SLOPE)
            features = F.leaky_relu(self.second[i](x), SLOPE)
            before = [features]
            if i >= first_head:
                image = self.heads[i - first_head](features)
                images[self.resolutions[i - first_head]] = image
                before.append(image)
        return images
