"""Numbers that the published implementations of HMEG and CAN computed: a selection that lies in the repository.

    python -m tests.support.published_numbers PARITY      writes the selection again

PARITY is the folder of the whole numbers (``shared/parity`` beside the repository, which has them at full length).
Weights are no part of either: they follow from the names and shapes of parameters (recipe.py). Of a long array a
thousand evenly spaced elements are kept, with the largest magnitude and the norm of the whole.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.support.recipe import recipe

FOLDER = Path(__file__).parents[1] / "fixtures" / "parity"
FILES = {"reference": "manifest.json", "can": "can_manifest.json"}  # arrays, and who lists their networks' parameters
_SAMPLES = 1000
# At full length: what networks are fed, and what tests of single operators compare.
_WHOLE = ("graph.", "box_mask.", "triple_conv.sparse.edges", "image", "labels", "train.images", "train.mask")


@dataclass(frozen=True)
class Measures:
    """Facts about an array at full length."""

    shape: tuple[int, ...]
    largest: float
    norm: float

    @classmethod
    def of(cls, array: np.ndarray) -> Measures:
        values = array.astype(np.float64)
        return cls(array.shape, float(np.abs(values).max()), float(np.linalg.norm(values)))


def selection(key: str, array: np.ndarray) -> np.ndarray:
    """The elements of ``array`` that are kept of it, flat; or the array itself."""
    if array.size <= _SAMPLES or key.startswith(_WHOLE):
        return array
    step = array.size // _SAMPLES
    while any(math.gcd(step, side) > 1 for side in array.shape):  # not the same column in every row
        step += 1
    return array.reshape(-1)[::step]


class Numbers:
    """The selection from one file of FILES."""

    def __init__(self, name: str, folder: Path = FOLDER) -> None:
        with np.load(folder / f"{name}.npz") as file:
            self.arrays = {key: file[key] for key in file}
        facts = json.loads((folder / f"{name}.json").read_text())
        self.measures = {
            key: Measures(tuple(m["shape"]), m["largest"], m["norm"]) for key, m in facts["arrays"].items()
        }
        self.networks: dict[str, Any] = facts["networks"]

    def __getitem__(self, key: str) -> Tensor:
        """An array that is kept at full length."""
        array = self.arrays[key]
        assert array.shape == self.measures[key].shape, f"of {key} only a selection is kept"
        return torch.from_numpy(array)

    def weights(self, module: str) -> dict[str, Tensor]:
        """The state dict of a published module."""
        return recipe(module, self.networks["state_dict_shapes"][module])

    def check(self, key: str, result: Tensor, tolerance: Callable[[float], float]) -> None:
        """Fails unless ``result`` is the array ``key``; ``tolerance`` of its largest magnitude is a permitted error."""
        measures, array = self.measures[key], result.detach().cpu().numpy()
        assert array.shape == measures.shape
        _check(key, selection(key, array), self.arrays[key], tolerance(measures.largest))
        change = abs(Measures.of(array).norm - measures.norm)
        assert change <= tolerance(measures.largest) * math.sqrt(array.size), f"{key}: the norm changes by {change:.3g}"


def check_whole(key: str, result: Tensor, published: np.ndarray, tolerance: Callable[[float], float]) -> None:
    """Fails unless ``result`` is ``published``, element by element."""
    assert tuple(result.shape) == published.shape
    _check(key, result.detach().cpu().numpy(), published, tolerance(Measures.of(published).largest))


def _check(key: str, array: np.ndarray, published: np.ndarray, tolerance: float) -> None:
    if not np.issubdtype(published.dtype, np.floating):
        assert np.array_equal(array, published), key
        return
    difference = float(np.abs(array.astype(np.float64) - published.astype(np.float64)).max())
    assert difference <= tolerance, f"{key}: differs by {difference:.3g}, where {tolerance:.3g} is permitted"


@functools.cache
def numbers(name: str) -> Numbers:
    """The selection from ``reference`` (HMEG) or ``can``, read once."""
    return Numbers(name)


def load_whole(parity: Path, name: str) -> dict[str, np.ndarray]:
    """All arrays of a file in the folder of whole numbers."""
    with np.load(parity / f"{name}.npz") as file:
        return {key: file[key] for key in file}


def write(parity: Path, folder: Path = FOLDER) -> None:
    """Writes the selection from the folder of whole numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, manifest in FILES.items():
        arrays = load_whole(parity, name)
        np.savez_compressed(folder / f"{name}.npz", **{key: selection(key, array) for key, array in arrays.items()})
        facts = {
            "networks": _networks(json.loads((parity / manifest).read_text())),
            "arrays": {key: vars(Measures.of(array)) for key, array in arrays.items()},
        }
        (folder / f"{name}.json").write_text(_lines(facts) + "\n")


def _networks(manifest: Mapping[str, Any]) -> dict[str, Any]:
    if "generator_kwargs" not in manifest:
        return {"state_dict_shapes": {"can": manifest["state_dict_shapes"]}}
    return {key: manifest[key] for key in ("generator_kwargs", "vocab", "state_dict_shapes")}


def _lines(facts: Mapping[str, Mapping[str, Any]]) -> str:
    """JSON with a line for each entry of the two parts."""
    parts = []
    for part, entries in facts.items():
        lines = [f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}" for key, value in entries.items()]
        parts.append(f"{json.dumps(part)}:{{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes the selection of published numbers again.")
    parser.add_argument("parity", type=Path, help="the folder of the whole numbers")
    write(parser.parse_args().parity)
