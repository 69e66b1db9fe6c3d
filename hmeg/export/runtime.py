"""Exported decoders behind one interface: what draws images from layouts, whoever computes it.

The road from graph to layout always runs in torch, from a weights file; a :class:`Runtime` takes over where nearly all
of the arithmetic is, in the learned upsampling and the decoder:

    composition = model.image_model.compose(graph, boxes, glyph_modes)
    images = runtime.decode(**composition.decoder_inputs(noise))       # {64: ..., 128: ..., 256: ...}

Inputs and outputs of every exported decoder, by name, in this order, N the number of expressions and S the side of the
soft masks (``config.image.mask_size``: 64; images are 4 S wide and high):

    layout   (N, gconv_dim [+ 5 + symbol_channels], S, S)   composed features before upsampling: node vectors under the
                                                            learned masks, then, with config.image.box_coordinates, the
                                                            channels of hmeg.model.box_coordinates
    noise    (N, image.noise_dim, 4 S, 4 S)                 standard normal, as hmeg.model.noise.image_noise draws
    glyphs   (N, glyph.channels, 4 S, 4 S)                  only with config.glyph.channels
    image_R  (N, image.channels, R, R)                      for each R of config.resolutions, ascending; no final
                                                            nonlinearity, trained towards [0, 1]

:func:`hmeg.model.composition.decoder_input_shapes` gives names and shapes. All are of the type that
``metadata.precision`` names.

How a runtime is found: a file's suffix names its kind. :func:`load_runtime` looks it up in :data:`RUNTIMES`, suffix ->
(module, the function of it that loads), and imports the module only then, because each needs a library that may not be
installed. A loader is called as ``load(path, device)`` and raises ``FileNotFoundError`` where there is no file,
``ValueError``, beginning with the path, for a file that is corrupt, foreign, made for another device or not a decoder,
and ``Unavailable``, a ``RuntimeError`` that names the extra that brings it, where a library is missing. A new kind of
file is one line there.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor

from hmeg.model.composition import decoder_input_shapes

from .metadata import ExportMetadata

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

# suffix -> (module, its loading function)
RUNTIMES: dict[str, tuple[str, str]] = {
    ".onnx": ("hmeg.export.onnx_runtime", "load"),
    ".pt2": ("hmeg.export.aoti.runtime", "load"),
    ".engine": ("hmeg.export.trt.runtime", "load"),
}


class Runtime(Protocol):
    """An exported decoder, ready to draw."""

    @property
    def metadata(self) -> ExportMetadata:
        """What the file says of itself; its ``weights_id`` must be that of the weights that make the layouts."""

    @property
    def device(self) -> torch.device:
        """Where it computes, and where :meth:`decode` leaves images."""

    def decode(self, layout: Tensor, noise: Tensor, glyphs: Tensor | None = None) -> dict[int, Tensor]:
        """Images by side, (N, image.channels, side, side) each, in the file's precision, on :attr:`device`.

        Shapes as in the module's text, any N from 1 that the file allows. Tensors of another floating type or on
        another device are converted first. ``ValueError`` for shapes that do not fit (:func:`checked_inputs`).
        """


def image_name(size: int) -> str:
    """What the output of that side is called."""
    return f"image_{size}"


def checked_inputs(
    metadata: ExportMetadata, device: torch.device, layout: Tensor, noise: Tensor, glyphs: Tensor | None
) -> dict[str, Tensor]:
    """The arguments of :meth:`Runtime.decode` by name: contiguous, in the file's precision, on ``device``.

    ``ValueError``, naming the input, what came and what is wanted, for shapes that do not fit.
    """
    given = {"layout": layout, "noise": noise} | ({} if glyphs is None else {"glyphs": glyphs})
    wanted = decoder_input_shapes(metadata.config)
    if given.keys() != wanted.keys():
        raise ValueError(f"this decoder reads {', '.join(wanted)}; given were {', '.join(given)}")
    batch = len(layout)
    for name, shape in wanted.items():
        if batch < 1 or tuple(given[name].shape) != (batch, *shape):
            expected = ", ".join(map(str, shape))
            got = tuple(given[name].shape)
            raise ValueError(f"{name} must be (N, {expected}), with the same N >= 1 for all inputs; got {got}")
    return {name: given[name].to(device, DTYPES[metadata.precision]).contiguous() for name in wanted}


def load_runtime(path: str | os.PathLike[str], device: torch.device) -> Runtime:
    """The exported decoder in a file, by the file's suffix; errors as the module's text has them."""
    suffix = Path(path).suffix
    if suffix not in RUNTIMES:
        raise ValueError(f"{os.fspath(path)}: exported decoders end in {', '.join(RUNTIMES)}")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{os.fspath(path)}: no such file")
    module, loader = RUNTIMES[suffix]
    return cast("Runtime", getattr(importlib.import_module(module), loader)(path, device))
