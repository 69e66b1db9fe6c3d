"""Finds weights: by the name of those bundled with the package, or by path."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hmeg.quoting import quoted

if TYPE_CHECKING:
    from hmeg.model import HMEG

SUFFIX = ".safetensors"


def bundled_weights() -> tuple[str, ...]:
    """Names of the weights in this installation, sorted."""
    folder = importlib.resources.files("hmeg").joinpath("weights")
    if not folder.is_dir():
        return ()
    return tuple(sorted(f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX)))


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
