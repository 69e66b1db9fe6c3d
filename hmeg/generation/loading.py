"""Loads a generator: weights by name or path, with an exported decoder where one is asked for."""

from __future__ import annotations

import os
from shlex import quote
from typing import TYPE_CHECKING

from hmeg.weights import bundled_weights, load_model

if TYPE_CHECKING:
    import torch

    from hmeg.model import HMEG

    from .generator import Generator


def load(
    weights: str | os.PathLike[str] = "small",
    device: str | torch.device = "auto",
    precision: str = "float32",
    decoder: str | os.PathLike[str] | None = None,
    cuda_graphs: bool = True,
) -> Generator:
    """A generator with the weights of that name, or of that file.

    weights  the name of bundled weights, or the path of a .safetensors file (made by ``hmeg train pack``); or of an
             exported decoder of bundled weights, which are then found by their id
    device   "auto" (the GPU if there is one), "cpu", "cuda", "cuda:1"
    precision  of the decoder: "float32", or "bfloat16" for speed (:class:`hmeg.generation.generator.Generator`); an
               exported decoder has its own
    decoder  a file of `hmeg export` that draws the images from layouts, in place of torch: .onnx, .pt2 (AOTInductor)
             or .engine (TensorRT). A .pt2 or .engine is code: load files of people you trust only
    cuda_graphs  whether a GPU replays recordings of the decoder (:mod:`hmeg.generation.captured`)

    ``FileNotFoundError`` for a name or path that is not there, listing what is; ``ValueError`` for a damaged or foreign
    file, for a decoder of other weights and for a device that is not there; ``RuntimeError``, saying how to get it, if
    the library that runs a decoder is missing.
    """
    from hmeg.devices import select_device

    from .decoder_file import kind_of, load_decoder
    from .generator import Generator

    chosen = select_device(device)
    if decoder is None and kind_of(weights) is not None:
        drawn_by = load_decoder(weights, chosen)
        model, name = _bundled_with(drawn_by.runtime.metadata.weights_id, drawn_by.path)
        return Generator(model, drawn_by.runtime.device, name, precision, drawn_by)
    if kind_of(weights) is not None:
        raise ValueError(f"{os.fspath(weights)}: an exported decoder, not weights; give one decoder, and its weights")
    model, name = load_model(weights)
    if decoder is None:
        return Generator(model, chosen, name, precision, cuda_graphs=cuda_graphs)
    drawn_by = load_decoder(decoder, chosen)
    return Generator(model, drawn_by.runtime.device, name, precision, drawn_by)


def _bundled_with(weights_id: str, decoder: str) -> tuple[HMEG, str]:
    for name in bundled_weights():
        model, _ = load_model(name)
        if model.weights_id == weights_id:
            return model, name
    raise ValueError(
        f"{decoder}: made from weights {weights_id}, which are not bundled with this installation; give their file "
        f"too: --weights FILE --decoder {quote(decoder)}, or in Python hmeg.load(FILE, decoder={decoder!r})"
    )
