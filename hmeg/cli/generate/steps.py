"""The steps of `hmeg generate`: find the expressions, load what draws, open the run, draw."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, Protocol, cast

import click

from hmeg.generation import inputs
from hmeg.generation.augmentation.loading import varying
from hmeg.generation.augmentation.plan import NONE, chosen
from hmeg.generation.engine import default_workers, draw
from hmeg.generation.generator import Generator
from hmeg.generation.inputs import Entry
from hmeg.generation.loading import load
from hmeg.generation.manifest import Settings
from hmeg.generation.ray_engine import cluster as ray_cluster
from hmeg.generation.ray_engine import drawing as ray_drawing
from hmeg.generation.run import STANDARD_INPUT, Run
from hmeg.image_sets.formats import FORMATS
from hmeg.weights import read_weights

from .options import Options
from .progress import Progress, counted


def draw_all(options: Options) -> None:
    """Draws what is not drawn yet of a run, and tells about it."""
    with ExitStack() as stack:
        expressions = Expressions.of(options, stack)
        generator = load(
            options.weights,
            "cpu" if options.engine == "ray" else options.device,
            options.precision,
            options.decoder,
            options.cuda_graphs,
        )
        # before anything is overwritten
        generator.check(options.drawn_on, options.batch_size or 1, options.temperature)
        if options.random_count is not None and options.grammar == "open":
            read = partial(inputs.from_open_grammar, options.random_count, options.seed, generator.vocabulary)
            expressions = replace(expressions, read=read)
        settings = settings_of(options, generator, expressions.source)
        engine: Engine = (
            RayEngine(options, settings, stack) if options.engine == "ray" else LocalEngine(options, generator)
        )
        batch_size = options.batch_size or engine.fitting_batch_size()
        run = stack.enter_context(Run(options.out, settings, batch_size, options.overwrite))
        if run.manifest.complete:
            click.echo(f"{options.out} holds this run already, complete: {counted(run.written, 'image')}")
        with Progress(run, expressions.total) as progress:
            engine.draw(run, expressions.read, options.batch_size or run.manifest.batch_size, progress)


@dataclass(frozen=True)
class Expressions:
    """Where expressions come from.

    total   how many there are; None where nobody knows before the end
    source  what settings call them: two runs of different expressions are told apart by it
    read    gives them, from the first on
    """

    total: int | None
    source: str
    read: Callable[[], Iterator[Entry]]

    @classmethod
    def of(cls, options: Options, stack: ExitStack) -> Expressions:
        """Those that were asked for; what has to be closed goes to ``stack``."""
        path = options.input_path
        if path is not None and options.reads_a_pipe:
            if str(path) == "-" and sys.stdin is None:
                raise click.ClickException("--input -: standard input is closed")
            file = stack.enter_context(click.open_file(str(path), "rb"))
            return cls(None, STANDARD_INPUT, partial(inputs.from_file, cast("BinaryIO", file)))
        if path is not None:
            total, digest = inputs.survey(path)
            if total == 0:
                raise click.ClickException(f"{path} holds no expression")
            return cls(total, f"a file with sha256 {digest[:16]}", partial(inputs.from_path, path.absolute()))
        if options.random_count is not None:
            count = options.random_count
            of_which = "" if options.grammar == "crohme" else " of the open grammar"
            read = partial(inputs.from_grammar, count, options.seed)
            return cls(count, f"{count} random expressions{of_which}", read)
        digest = hashlib.sha256(json.dumps(options.texts).encode()).hexdigest()
        source = f"arguments with sha256 {digest[:16]}"
        return cls(len(options.texts), source, partial(inputs.from_arguments, options.texts))


def settings_of(options: Options, generator: Generator, source: str) -> Settings:
    """What the samples of the run depend on. --augment is tried on a blank image."""
    augment, canvas = chosen(options.augment), options.drawn_on
    if augment != NONE:
        varying().check(augment, canvas.drawn_like, generator.config.image.channels)
    return Settings(
        weights=generator.weights,
        precision=generator.precision,
        seed=options.seed,
        count=options.count,
        size=canvas.drawn_like,
        source=source,
        format=options.file_format,
        split=options.split,
        shard_size=options.shard_size or FORMATS[options.file_format].default_shard,
        runtime=generator.runtime,
        augment=augment,
        temperature=options.temperature,
        canvas="square" if canvas.is_square else str(canvas),
    )


class Engine(Protocol):
    """Who draws."""

    def fitting_batch_size(self) -> int:
        """Samples that memory has room for at a time."""

    def draw(self, run: Run, read: Callable[[], Iterator[Entry]], together: int, progress: Progress) -> None:
        """Draws what the run lacks, so many samples at a time."""


class LocalEngine:
    """This process, and others that encode images."""

    def __init__(self, options: Options, generator: Generator) -> None:
        self._generator = generator
        self._workers = default_workers(generator.device.type) if options.workers is None else options.workers

    def fitting_batch_size(self) -> int:
        return self._generator.fitting_batch_size()

    def draw(self, run: Run, read: Callable[[], Iterator[Entry]], together: int, progress: Progress) -> None:
        draw(self._generator, run, read(), together, self._workers, progress.written, progress.rejected)


class RayEngine:
    """Actors on the machines of a Ray cluster."""

    def __init__(self, options: Options, settings: Settings, stack: ExitStack) -> None:
        self._cluster = stack.enter_context(
            ray_cluster.connected(
                options.ray_address, options.ray_actors, options.cpus_per_actor or 1, options.gpus_per_actor
            )
        )
        click.echo(str(self._cluster))
        self._settings, self._cuda_graphs = settings, options.cuda_graphs
        self._weights = ray_drawing.Weights(*read_weights(options.weights))

    def fitting_batch_size(self) -> int:
        return ray_drawing.fitting_batch_size(self._cluster, self._weights, self._settings)

    def draw(self, run: Run, read: Callable[[], Iterator[Entry]], together: int, progress: Progress) -> None:
        ray_drawing.draw(
            self._cluster,
            self._weights,
            run,
            read,
            together,
            progress.written,
            progress.rejected,
            self._cuda_graphs,
        )
