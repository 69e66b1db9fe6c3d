"""What an actor on some machine of the cluster does. Imports no Ray, so that it can be tried without."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import hmeg
from hmeg.backends import BackendError
from hmeg.image_sets.formats import FORMATS
from hmeg.image_sets.sample import Sample

from ..engine import Encoder
from ..generator import Generator
from ..inputs import Rejection
from ..loading import load
from ..manifest import Settings
from .blocks import Block


@dataclass(frozen=True)
class Recipe:
    """Everything an actor has to know, but the weights.

    version      of hmeg, which must be the actor's too
    settings     of the run
    weights_file name of the weights' file; the content is sent beside
    device       "cpu", or "cuda": the GPU that Ray lets this process see
    threads      that may compute on a CPU
    cuda_graphs  whether a GPU replays recordings of the decoder
    """

    version: str
    settings: Settings
    weights_file: str
    device: str
    threads: int
    batch_size: int
    cuda_graphs: bool = True


@dataclass(frozen=True)
class DrawnBlock:
    """What has become of a block: samples with their encoded images, or the reason why it cannot be drawn anywhere.

    Only the samples that the block wants shown have pixels.
    """

    shard: int
    samples: tuple[tuple[Sample, Any], ...]
    rejections: tuple[Rejection, ...]
    problem: str | None = None


class UnsuitableWorkerError(ValueError):
    """This process cannot draw what is asked for."""


def loaded(recipe: Recipe, weights: bytes) -> Generator:
    """The generator of a recipe. :class:`UnsuitableWorkerError` where versions or devices do not fit."""
    if recipe.version != hmeg.__version__:
        raise UnsuitableWorkerError(
            f"it has hmeg {hmeg.__version__}, and the run was started with {recipe.version}: "
            "install the same version everywhere"
        )
    torch.set_num_threads(recipe.threads)
    with tempfile.TemporaryDirectory(prefix="hmeg-") as folder:
        path = Path(folder) / recipe.weights_file
        path.write_bytes(weights)
        try:
            generator = load(path, recipe.device, recipe.settings.precision, cuda_graphs=recipe.cuda_graphs)
        except (ValueError, BackendError) as error:
            raise UnsuitableWorkerError(str(error)) from error
    if generator.weights != recipe.settings.weights:
        raise UnsuitableWorkerError(f"the weights that came are {generator.weights}, not {recipe.settings.weights}")
    return generator


class Drawer:
    """Draws blocks. What goes wrong for good is part of the result; an exception would be tried again elsewhere.

    where  what to call this machine in messages

    Weights are loaded with the first block: a worker that dies of them has died over a block, and those are counted.
    """

    def __init__(self, recipe: Recipe, weights: Callable[[], bytes], where: str) -> None:
        self._recipe = recipe
        self._weights = weights
        self._where = where
        self._generator: Generator | None = None
        settings = recipe.settings
        encode, like = FORMATS[settings.format](Path(), settings.split).encode, settings.drawn_on.drawn_like
        self._encoder = Encoder(encode, 0, settings.augment, like)

    def draw(self, block: Block) -> DrawnBlock:
        """The samples of a block, in its order, encoded."""
        settings = self._recipe.settings
        try:
            if self._generator is None:
                self._generator = loaded(self._recipe, self._weights())
            samples = self._generator.stream(
                block.tasks,
                settings.seed,
                None,
                self._recipe.batch_size,
                settings.temperature,
                settings.drawn_on,
            )
            drawn = []
            for place, (sample, encoded) in enumerate(self._encoder.encoded(samples)):
                sample.label()  # makes what the one process that writes would else make for all: it goes along
                drawn.append((sample if place in block.shown else sample.without_pixels(), encoded))
        except UnsuitableWorkerError as error:
            return DrawnBlock(block.shard, (), (), f"the worker on {self._where} cannot draw: {error}")
        except torch.OutOfMemoryError:
            problem = f"out of memory on {self._where}; try a smaller --batch-size, or fewer actors a GPU"
            return DrawnBlock(block.shard, (), (), problem)
        except (ValueError, BackendError) as error:
            return DrawnBlock(block.shard, (), (), str(error))
        return DrawnBlock(block.shard, tuple(drawn), block.rejections)


def packed(value: Block | DrawnBlock) -> bytes:
    """How blocks and results travel between the processes of one run; never kept in a file."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def unpacked(content: bytes) -> Any:
    """The other way round."""
    return pickle.loads(content)
