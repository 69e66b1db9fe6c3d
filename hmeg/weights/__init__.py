"""Finds weights: by the name of those bundled with the package, or by path."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hmeg.quoting import quoted

if TYPE_CHECKING:
    from importlib.abc import Traversable

    from hmeg.model import HMEG

SUFFIX = ".safetensors"


def _folder() -> Traversable:
    return importlib.resources.files("hmeg").joinpath("weights")


def bundled_weights() -> tuple[str, ...]:
    """Names of the weights in this installation, sorted."""
    folder = _folder()
    if not folder.is_dir():
        return ()
    return tuple(sorted(f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX)))


@contextmanager
def weights_file(weights: str | os.PathLike[str]) -> Iterator[Path]:
    """The file of weights given by bundled name or path, as long as the context lasts.

    ``FileNotFoundError``, saying what there is, where there is none.
    """
    name = os.fspath(weights)
    if name in bundled_weights():
        with importlib.resources.as_file(_folder().joinpath(name + SUFFIX)) as path:
            yield path
    elif Path(name).is_file():
        yield Path(name)
    else:
        raise FileNotFoundError(_not_there(name))


def load_model(weights: str | os.PathLike[str]) -> tuple[HMEG, str]:
    """The model, and what its weights are called."""
    from hmeg.model.checkpoint import load_weights

    with weights_file(weights) as path:
        return load_weights(path), Path(weights).name.removesuffix(SUFFIX)


def read_weights(weights: str | os.PathLike[str]) -> tuple[str, bytes]:
    """Name and content of the file that :func:`load_model` would read, to be loaded on another machine."""
    name = os.fspath(weights)
    with weights_file(name) as path:
        return (name + SUFFIX if name in bundled_weights() else path.name), path.read_bytes()


def _not_there(name: str) -> str:
    if Path(name).is_dir():
        return f"{name} is a folder: weights are a {SUFFIX} file, which `hmeg train pack` makes of finished runs"
    bundled = bundled_weights()
    there = f"bundled are: {', '.join(bundled)}" if bundled else "none are bundled with this installation"
    return (
        f"no weights {quoted(name)}: {there}. Give one of those names or the path of a {SUFFIX} file; "
        "`hmeg train layout`, `hmeg train image` and `hmeg train pack` make one."
    )
