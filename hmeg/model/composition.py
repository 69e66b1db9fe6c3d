"""What the graph part of the image model hands to its decoder: features painted at their symbols' places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ModelConfig
from .mask import match_format


@dataclass(frozen=True)
class Composition:
    """Composed features of N expressions (or windows), S the side of the soft masks.

    nodes     (N, image.gconv_dim, S, S): node vectors under the learned soft masks
    in_boxes  (N, 5 + image.symbol_channels, S, S) under the fixed masks; None without ``config.image.box_coordinates``
    glyphs    (N, glyph.channels, 4 S, 4 S), or None without ``config.glyph.channels``

    It becomes tensors in three ways. :meth:`upsampled` makes the decoder's input. :meth:`tensors` lists its parts, for
    code that treats all of them alike. :meth:`decoder_inputs` names them, for decoders that run elsewhere
    (:mod:`hmeg.export.runtime`). The latter two have inverses.
    """

    nodes: Tensor
    in_boxes: Tensor | None = None
    glyphs: Tensor | None = None

    def tensors(self) -> tuple[Tensor, ...]:
        """nodes, in_boxes and glyphs, in this order, without those that are None."""
        return tuple(part for part in (self.nodes, self.in_boxes, self.glyphs) if part is not None)

    @classmethod
    def of_tensors(cls, config: ModelConfig, tensors: Sequence[Tensor]) -> Composition:
        """Inverse of :meth:`tensors`; ``ValueError`` for another number of them than the configuration has."""
        expected = 1 + config.image.box_coordinates + bool(config.glyph.channels)
        if len(tensors) != expected:
            raise ValueError(f"a composition of the model {config.name!r} has {expected} tensors, got {len(tensors)}")
        rest = iter(tensors)
        nodes = next(rest)
        in_boxes = next(rest) if config.image.box_coordinates else None
        return cls(nodes, in_boxes, next(rest) if config.glyph.channels else None)

    def decoder_inputs(self, noise: Tensor) -> dict[str, Tensor]:
        """Name -> tensor, as :func:`decoder_input_shapes` has them: nodes and in_boxes are one, the layout.

        noise (N, image.noise_dim, 4 S, 4 S) is the other thing that decoders read.
        """
        layout = self.nodes if self.in_boxes is None else torch.cat([self.nodes, self.in_boxes], dim=1)
        inputs = {"layout": layout, "noise": noise}
        return inputs if self.glyphs is None else {**inputs, "glyphs": self.glyphs}

    @classmethod
    def of_decoder_inputs(cls, config: ModelConfig, layout: Tensor, glyphs: Tensor | None = None) -> Composition:
        """Inverse of :meth:`decoder_inputs`, noise apart."""
        if not config.image.box_coordinates:
            return cls(layout, None, glyphs)
        return cls(layout[:, : config.image.gconv_dim], layout[:, config.image.gconv_dim :], glyphs)

    def to(self, dtype: torch.dtype) -> Composition:
        """All of it in another type."""
        others = (None if part is None else part.to(dtype) for part in (self.in_boxes, self.glyphs))
        return Composition(self.nodes.to(dtype), *others)

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


def decoder_input_shapes(config: ModelConfig) -> dict[str, tuple[int, int, int]]:
    """Name -> shape without the batch, in order, of :meth:`Composition.decoder_inputs`."""
    side, small = config.image.size, config.image.mask_size
    in_boxes = 5 + config.image.symbol_channels if config.image.box_coordinates else 0
    shapes = {
        "layout": (config.image.gconv_dim + in_boxes, small, small),
        "noise": (config.image.noise_dim, side, side),
    }
    return {**shapes, "glyphs": (config.glyph.channels, side, side)} if config.glyph.channels else shapes
