"""The networks behind the layout as inference runs them: the same function of the same weights, with less arithmetic.

Four rewrites of :class:`hmeg.model.decoder.ImageDecoder` and :class:`hmeg.model.mask.LayoutUpsampler`, exact but for
rounding:

* Batch norms use their running statistics, so each is a scale and a shift per channel; the convolution before it takes
  both in.
* A convolution of concatenated channels is the sum of two convolutions. The layout's is computed at the stage's own
  resolution, the features' before they are upsampled, and nothing is concatenated.
* Upsampling by 2 (nearest) and then a 3x3 convolution is one transposed convolution (:mod:`hmeg.model.upsampling`).
* Everything is channels_last.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .decoder import SLOPE, ImageDecoder, ImageHead, RefinementStage, check_resolutions, layout_pyramid
from .mask import LayoutUpsampler
from .upsampling import merged_upsampling


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch norm in evaluation mode does: x * scale + shift, each (C,) float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - scale * norm.running_mean.double()


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight (O, I, 3, 3) and bias (O,), float64, of the convolution that equals ``norm`` after ``conv``."""
    assert conv.bias is not None
    scale, shift = scale_and_shift(norm)
    return conv.weight.double() * scale[:, None, None, None], conv.bias.double() * scale + shift


def _convolution(weight: Tensor, bias: Tensor | None, like: Tensor) -> nn.Conv2d:
    """The convolution with weights (O, I, k, k) that keeps the size, in the type and on the device of ``like``."""
    out_channels, in_channels, side, _ = weight.shape
    conv = nn.utils.skip_init(nn.Conv2d, in_channels, out_channels, side, padding=side // 2, bias=bias is not None)
    _fill(conv, weight, bias, like)
    return conv


def _upsampling_convolution(weight: Tensor, bias: Tensor | None, like: Tensor) -> nn.ConvTranspose2d:
    """The transposed convolution with weights (I, O, 4, 4) that doubles the size."""
    sizes = weight.shape[:3]
    conv = nn.utils.skip_init(nn.ConvTranspose2d, *sizes, stride=2, padding=1, bias=bias is not None)
    _fill(conv, weight, bias, like)
    return conv


def _fill(conv: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, bias: Tensor | None, like: Tensor) -> None:
    conv.weight = nn.Parameter(weight.detach().to(like).contiguous(memory_format=torch.channels_last), False)
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().to(like), False)


class InferenceStage(nn.Module):
    """A :class:`hmeg.model.decoder.RefinementStage` on unconcatenated inputs.

    forward(layout (N, L, H, W), features (N, F, H / 2, W / 2) or None, image (N, C, H / 2, W / 2) or None)
    -> (N, out, H, W). L, F and C are the channels that ``stage`` reads, in this order; F and C may be 0.
    """

    def __init__(self, stage: RefinementStage, layout_channels: int, feature_channels: int) -> None:
        super().__init__()
        like = stage.conv1.weight
        weight, bias = folded(stage.conv1, stage.norm1)
        image_channels = weight.shape[1] - layout_channels - feature_channels
        of_layout, *upsampled = weight.split([layout_channels, feature_channels, image_channels], dim=1)
        self.layout = _convolution(of_layout, bias, like)
        self.features, self.image = (
            _upsampling_convolution(merged_upsampling(part), None, like) if part.shape[1] else None
            for part in upsampled
        )
        self.conv2 = _convolution(*folded(stage.conv2, stage.norm2), like)

    def forward(self, layout: Tensor, features: Tensor | None, image: Tensor | None) -> Tensor:
        x = self.layout(layout)
        if self.features is not None:
            x += self.features(features)
        if self.image is not None:
            x += self.image(image)
        return F.leaky_relu(self.conv2(F.leaky_relu(x, SLOPE, inplace=True)), SLOPE, inplace=True)


class InferenceHead(nn.Module):
    """A :class:`hmeg.model.decoder.ImageHead`, channels_last."""

    def __init__(self, head: ImageHead) -> None:
        super().__init__()
        self.conv = _convolution(head.conv.weight, head.conv.bias, head.conv.weight)
        self.out = _convolution(head.out.weight, head.out.bias, head.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        image: Tensor = self.out(F.leaky_relu(self.conv(x), SLOPE, inplace=True))
        return image


class InferenceDecoder(nn.Module):
    """An :class:`hmeg.model.decoder.ImageDecoder` for inference: same call, same images, without gradients.

    forward(layout (N, layout_channels, S, S), resolutions) -> {r: (N, image_channels, r, r)}, as the decoder does it in
    evaluation mode: within 1e-4 in float32. A copy of the weights: later changes to the decoder's do not show here.
    It computes in the precision of its weights, whatever the layout's; ``.to(torch.bfloat16)`` makes a coarser one that
    is faster where the processor multiplies bfloat16 itself. Fit for autocast.
    """

    def __init__(self, decoder: ImageDecoder) -> None:
        super().__init__()
        self.image_size = decoder.image_size
        self.resolutions = decoder.resolutions
        stages = cast("Sequence[RefinementStage]", decoder.stages)
        layout_channels = stages[0].conv1.in_channels
        feature_channels = [0, *(stage.conv2.out_channels for stage in stages)]
        self.stages = nn.ModuleList(
            InferenceStage(stage, layout_channels, features)
            for stage, features in zip(stages, feature_channels, strict=False)
        )
        heads = cast("Sequence[ImageHead]", decoder.heads)
        self.heads = nn.ModuleList(InferenceHead(head) for head in heads)
        self.eval()

    def forward(self, layout: Tensor, resolutions: Collection[int] | None = None) -> dict[int, Tensor]:
        wanted = check_resolutions(resolutions, self.resolutions)
        first_head = len(self.stages) - len(self.heads)
        last_stage = first_head + self.resolutions.index(max(wanted))
        layout = layout.to(next(self.parameters()).dtype, memory_format=torch.channels_last)
        images: dict[int, Tensor] = {}
        features = image = None
        for i, level in enumerate(layout_pyramid(layout, len(self.stages))[: last_stage + 1]):
            features = self.stages[i](level, features, image)
            if i >= first_head:
                image = self.heads[i - first_head](features)
                resolution = self.resolutions[i - first_head]
                if resolution in wanted:
                    images[resolution] = image
        return images


class InferenceUpsampler(nn.Module):
    """A :class:`hmeg.model.mask.LayoutUpsampler` in evaluation mode without its batch norm, channels_last.

    forward(layout (N, C, H, W)) -> (N, C, 4 H, 4 W), to rounding, in the precision of its weights.

    The norm stands between ReLU and the second convolution, whose zero padding must stay zero, so its shift cannot move
    into that convolution's bias. It moves in front of the ReLU instead: scale * relu(x) + shift is
    sign * max(|scale| * x + sign * shift, sign * shift) with sign that of the scale; the first convolution makes
    |scale| * x + sign * shift, the second takes the sign.
    """

    floor: Tensor

    def __init__(self, upsampler: LayoutUpsampler) -> None:
        super().__init__()
        up1, up2 = upsampler.up1, upsampler.up2
        assert up1.bias is not None
        scale, shift = scale_and_shift(upsampler.norm)
        sign = torch.where(scale < 0, -1.0, 1.0)
        floor = sign * shift
        weight, bias = up1.weight.double() * scale.abs()[:, None, None], up1.bias.double() * scale.abs() + floor
        self.up1 = _upsampling_convolution(weight, bias, up1.weight)
        self.up2 = _upsampling_convolution(up2.weight.double() * sign[:, None, None, None], up2.bias, up2.weight)
        self.register_buffer("floor", floor.detach().to(up1.weight)[:, None, None], persistent=False)
        self.eval()

    def forward(self, layout: Tensor) -> Tensor:
        x = self.up1(layout.to(self.floor.dtype, memory_format=torch.channels_last))
        upsampled: Tensor = self.up2(x.clamp_(min=self.floor.to(x.dtype)))
        return upsampled
