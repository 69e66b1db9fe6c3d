"""Finds weights: by the name of those bundled with the package, or by path."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from .generator import Generator

SUFFIX = ".safetensors"


def bundled_weights() -> tuple[str, ...]:
    """Names of the weights in this installation, sorted."""
    folder = importlib.resources.files("hmeg").joinpath("weights")
    if not folder.is_dir():
        return ()
    return tuple(sorted(f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX)))


def load(
    weights: str | os.PathLike[str] = "small", device: str | torch.device = "auto", precision: str = "float32"
) -> Generator:
    """A generator with the weights of that name, or of that file.

    weights  the name of bundled weights, or the path of a .safetensors file (made by ``hmeg train pack``)
    device   "auto" (the GPU if there is one), "cpu", "cuda", "cuda:1"
    precision  of the decoder: "float32", or "bfloat16" for speed (:class:`hmeg.generation.generator.Generator`)

    ``FileNotFoundError`` for a name or path that is not there, listing what is; ``ValueError`` for a damaged or foreign
    file and for a device that is not there.
    """
    from hmeg.devices import select_device
    from hmeg.model.checkpoint import load_weights

    from .generator import Generator

    chosen = select_device(device)
    name = os.fspath(weights)
    if name in bundled_weights():
        source = importlib.resources.files("hmeg").joinpath("weights").joinpath(name + SUFFIX)
        with importlib.resources.as_file(source) as path:
            return Generator(load_weights(path), chosen, name, precision)
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(_not_there(name))
    return Generator(load_weights(path), chosen, path.name.removesuffix(SUFFIX), precision)


def _not_there(name: str) -> str:
    bundled = bundled_weights()
    there = f"bundled are: {', '.join(bundled)}" if bundled else "none are bundled with this installation"
    return (
        f"no weights {name!r}: {there}. Give one of those names or the path of a {SUFFIX} file; "
        "`hmeg train layout`, `hmeg train image` and `hmeg train pack` make one."
    )
