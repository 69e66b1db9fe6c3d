"""What the graph part of the image model hands to its decoder: features painted at their symbols' places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ModelConfig
from .mask import match_format


@dataclass
class Composition:
    """Composed features of N expressions (or windows), S the side of the soft masks.

    nodes     (N, image.gconv_dim, S, S): node vectors under the learned soft masks
    in_boxes  (N, 5 + image.symbol_channels, S, S) under the fixed masks; None without ``config.image.box_coordinates``
    glyphs    (N, glyph.channels, 4 S, 4 S), or None without ``config.glyph.channels``
    """

    nodes: Tensor
    in_boxes: Tensor | None = None
    glyphs: Tensor | None = None

    @property
    def layout(self) -> Tensor:
        """nodes, then in_boxes, as one tensor (N, C, S, S): what exported decoders read."""
        return self.nodes if self.in_boxes is None else torch.cat([self.nodes, self.in_boxes], dim=1)

    @classmethod
    def of_layout(cls, config: ModelConfig, layout: Tensor, glyphs: Tensor | None) -> Composition:
        """Inverse of :attr:`layout`."""
        if not config.image.box_coordinates:
            return cls(layout, None, glyphs)
        return cls(layout[:, : config.image.gconv_dim], layout[:, config.image.gconv_dim :], glyphs)

    def upsampled(self, upsampler: nn.Module, noise: Tensor) -> Tensor:
        """What :class:`hmeg.model.decoder.ImageDecoder` reads: everything at 4 S, then the noise (N, D, 4 S, 4 S)."""
        layout = upsampler(self.nodes)
        layers = [layout]
        if self.in_boxes is not None:
            layers.append(F.interpolate(match_format(self.in_boxes, layout), scale_factor=4.0, mode="bilinear"))
        if self.glyphs is not None:
            # Together: one channel alone is in every memory format at once, which makes torch.cat take the slow road.
            noise = torch.cat([self.glyphs.to(noise.dtype), noise], dim=1)
        return torch.cat([*layers, match_format(noise, layout)], dim=1)
