"""Recipes and tasks for tests of the Ray engine's parts."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import hmeg
from hmeg.generation.generator import Generator
from hmeg.generation.loading import load
from hmeg.generation.manifest import Settings
from hmeg.generation.ray_engine.actor import Recipe
from hmeg.generation.tasks import Task
from hmeg.graph.latex import parse_latex
from tests.support.tiny_model import save_tiny


def task(index: int, text: str = "x + 1") -> Task:
    return Task(index, parse_latex(text))


@functools.cache
def tiny() -> tuple[bytes, Generator]:
    """A weights file, and the generator it gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_tiny(Path(folder) / "tiny.safetensors")
        return path.read_bytes(), load(path, "cpu")


def settings(**changed) -> Settings:
    values = {"weights": tiny()[1].weights, "precision": "float32", "seed": 1, "count": 2, "size": 32,
              "source": "a test", "format": "folder", "split": "train", "shard_size": 20}  # fmt: skip
    return Settings(**{**values, **changed})


def recipe(batch_size: int = 1, **changed) -> Recipe:
    values = {"version": hmeg.__version__, "settings": settings(), "weights_file": "tiny.safetensors", "device": "cpu",
              "threads": 1, "batch_size": batch_size}  # fmt: skip
    return Recipe(**{**values, **changed})
