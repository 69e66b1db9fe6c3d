"""Finds weights: by the name of those bundled with the package, or by path."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from hmeg.quoting import quoted

if TYPE_CHECKING:
    import torch

    from hmeg.model import HMEG

    from .generator import Generator


SUFFIX = ".safetensors"


def bundled_weights() -> tuple[str, ...]:
    """Names of the weights in this installation, sorted."""
    folder = importlib.resources.files("hmeg").joinpath("weights")
    if not folder.is_dir():
        return ()
    return tuple(sorted(f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX)))


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


def load_model(weights: str | os.PathLike[str]) -> tuple[HMEG, str]:
    """The model, and what its weights are called."""
    from hmeg.model.checkpoint import load_weights

    name = os.fspath(weights)
    if name in bundled_weights():
        source = importlib.resources.files("hmeg").joinpath("weights").joinpath(name + SUFFIX)
        with importlib.resources.as_file(source) as path:
            return load_weights(path), name
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(_not_there(name))
    return load_weights(path), path.name.removesuffix(SUFFIX)


def _bundled_with(weights_id: str, decoder: str) -> tuple[HMEG, str]:
    for name in bundled_weights():
        model, _ = load_model(name)
        if model.weights_id == weights_id:
            return model, name
    raise ValueError(
        f"{decoder}: made from weights {weights_id}, which are not bundled with this installation; give their file "
        f"too: --weights FILE --decoder {quote(decoder)}, or in Python hmeg.load(FILE, decoder={decoder!r})"
    )


def read_weights(weights: str | os.PathLike[str]) -> tuple[str, bytes]:
    """Name and content of the file that :func:`load` would read, to be loaded on another machine."""
    name = os.fspath(weights)
    if name in bundled_weights():
        file = importlib.resources.files("hmeg").joinpath("weights").joinpath(name + SUFFIX)
        return file.name, file.read_bytes()
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(_not_there(name))
    return path.name, path.read_bytes()


def _not_there(name: str) -> str:
    if Path(name).is_dir():
        return f"{name} is a folder: weights are a {SUFFIX} file, which `hmeg train pack` makes of finished runs"
    bundled = bundled_weights()
    there = f"bundled are: {', '.join(bundled)}" if bundled else "none are bundled with this installation"
    return (
        f"no weights {quoted(name)}: {there}. Give one of those names or the path of a {SUFFIX} file; "
        "`hmeg train layout`, `hmeg train image` and `hmeg train pack` make one."
    )
