"""The part of a model that exported decoders compute, as one module with tensors in and out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmeg.model import HMEG, ModelConfig
from hmeg.model.composition import Composition, decoder_input_shapes
from hmeg.model.inference_decoder import InferenceDecoder, InferenceUpsampler

from .plain_decoder import PlainDecoder


class DecoderPart(nn.Module):
    """Upsampler and decoder of a model, made for inference: a copy of their weights, without gradients.

    forward(layout, noise, glyphs=None) -> one image tensor for each of ``config.resolutions``, ascending. Shapes are
    those of :mod:`hmeg.export.runtime`. Inputs of the type of its weights give images of that type.

    merged  whether upsampling is merged into the convolutions behind it (:mod:`hmeg.model.inference_decoder`): less
            arithmetic, by transposed convolutions. Without, only batch norms are folded
            (:class:`hmeg.export.plain_decoder.PlainDecoder`), for runtimes whose transposed convolutions cost more than
            that saves.
    """

    def __init__(self, model: HMEG, merged: bool = True) -> None:
        super().__init__()
        self.config: ModelConfig = model.config
        painter = model.image_model
        self.upsampler = InferenceUpsampler(painter.upsampler)
        self.decoder = InferenceDecoder(painter.decoder) if merged else PlainDecoder(painter.decoder)
        self.requires_grad_(False).eval()

    def forward(self, layout: Tensor, noise: Tensor, glyphs: Tensor | None = None) -> tuple[Tensor, ...]:
        composition = Composition.of_decoder_inputs(self.config, layout, glyphs)
        images = self.decoder(composition.upsampled(self.upsampler, noise))
        return tuple(images[size] for size in self.config.resolutions)


def example_inputs(config: ModelConfig, batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Inputs of an exported decoder by name, float32: layouts of random blobs, standard normal noise.

    Not what a trained model composes, but of its size: for tracing, agreement checks and benchmarks.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        values = torch.randn(batch, *shape, generator=generator)
        return values if name == "noise" else values.clamp(min=0)

    return {name: draw(name, shape) for name, shape in decoder_input_shapes(config).items()}
