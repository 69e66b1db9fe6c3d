"""Drawing a run: inference of the next samples while the ones before are encoded, shard after shard."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from hmeg.canvas import Canvas
from hmeg.graph import SymbolGraph
from hmeg.image_sets.sample import Sample
from hmeg.refusals import Refusal
from hmeg.workers import WorkerPool

from . import encoding
from .augmentation.plan import NONE
from .encoding import varied
from .generator import Generator
from .inputs import Entry, Rejection, pieces
from .run import Run
from .skipping import Check
from .tasks import Task, check_symbols

if TYPE_CHECKING:
    from .augmentation.vary import Variation

ENCODED_AHEAD = 32  # samples a worker may be behind


class WorkerDiedError(Refusal):
    """A process that encodes images ended before its work was done."""


def draw(
    generator: Generator,
    run: Run,
    entries: Iterable[Entry],
    batch_size: int,
    workers: int,
    on_sample: Callable[[Sample], None],
    on_rejection: Callable[[Entry, str], None],
) -> None:
    """Draw what is missing of ``run`` and finish it.

    entries  all expressions of the run, from the first one on, also where some shards are finished
    workers  processes that encode images; 0: this one does it
    """
    settings, canvas = run.settings, run.settings.drawn_on

    def tasks(of_shard: Iterable[Task | Rejection]) -> Iterator[Task]:
        for piece in of_shard:
            if isinstance(piece, Rejection):
                run.reject(piece.entry.line, piece.entry.text, piece.reason)
                on_rejection(piece.entry, piece.reason)
            else:
                yield piece

    if not run.manifest.complete:
        start = run.next_shard * settings.shard_size
        check = check_for(run.format.check, generator.check_graph, canvas)
        missing = pieces(entries, settings.count, start, check, generator.readable)
        with Encoder(run.format.encode, workers, settings.augment, canvas.drawn_like) as encoder:
            for number, of_shard in itertools.groupby(missing, lambda piece: piece.index // settings.shard_size):
                run.begin(number)  # a refused expression with more samples than a shard leaves gaps
                samples = generator.stream(
                    tasks(of_shard), settings.seed, None, batch_size, settings.temperature, canvas
                )
                for sample, encoded in encoder.encoded(samples):
                    run.write(sample, encoded)
                    on_sample(sample)
                run.commit()
    run.finish()


def check_for(writable: Check, drawable: Check = check_symbols, canvas: Canvas | None = None) -> Check:
    """Raises for what the weights cannot draw, what the output has no label for, and what the canvas is too small for.

    writable  :meth:`hmeg.image_sets.format.Format.check` of the form
    drawable  :meth:`hmeg.generation.generator.Generator.check_graph` of the weights
    """

    def check(graph: SymbolGraph) -> None:
        drawable(graph)
        writable(graph)
        if canvas is not None:
            canvas.check_expression(graph)

    return check


class Encoder:
    """Varies and encodes images, in other processes if there are to be any, and gives them back in order.

    The processes are started anew (spawned): a copy of a process that computes on a GPU or in threads may not work.
    ``encode`` must be importable there, from a module that imports no torch.

    augment  as in :class:`hmeg.generation.manifest.Settings`
    size     :attr:`hmeg.Canvas.drawn_like` of the images' canvas
    """

    def __init__(
        self, encode: Callable[[np.ndarray], Any], workers: int, augment: str = NONE, size: int | None = None
    ) -> None:
        self._work = partial(encoding.varied_and_encoded, augment, encode, size=size)
        self._ahead = workers * ENCODED_AHEAD
        self._pool = WorkerPool(workers) if workers else None

    def __enter__(self) -> Encoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def encoded(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Any]]:
        """Every sample, varied, with its encoded image; reads a bounded number ahead.

        ``WorkerDiedError`` when one of the processes was killed, or could not start.
        """
        if self._pool is None:
            for sample in samples:
                variation, encoded = self._work(sample.array, sample.boxes, sample.seed, sample.index)
                yield varied(sample, variation), encoded
            return
        try:
            yield from self._by_workers(self._pool, samples)
        except BrokenProcessPool:
            raise WorkerDiedError(
                "a process that encodes images died: killed from outside, or for want of memory (then take fewer "
                "--workers); what is finished is complete, and the same command goes on from there"
            ) from None

    def _by_workers(self, pool: WorkerPool, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Any]]:
        waiting: deque[tuple[Sample, Future[tuple[Variation | None, Any]]]] = deque()
        for sample in samples:
            future = pool.submit(self._work, sample.array, sample.boxes, sample.seed, sample.index)
            waiting.append((sample, future))
            while len(waiting) > self._ahead or (waiting and waiting[0][1].done()):
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def _finished(sample: Sample, future: Future[tuple[Variation | None, Any]]) -> tuple[Sample, Any]:
    variation, encoded = future.result()
    return varied(sample, variation), encoded


def default_workers(device_type: str) -> int:
    """Processes that keep up with a GPU, or none: on the CPU they would only take the processor from the networks."""
    if device_type == "cpu":
        return 0
    return max(1, min(8, (os.cpu_count() or 1) - 1))
