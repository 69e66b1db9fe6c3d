"""Which samples are computed together on a GPU."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from hmeg.model.config import ModelConfig

if TYPE_CHECKING:
    from hmeg.image_sets.sample import Sample

    from .tasks import Task

Placed = TypeVar("Placed")  # a task with its layout

BATCHES_AHEAD = 8  # sorted by size together
LARGEST_BATCH = 256


def in_buckets(
    tasks: Iterable[Task], batch_size: int, launch: Callable[[Sequence[Task]], Callable[[], list[Sample]]]
) -> Iterator[Sample]:
    """Samples in the order of ``tasks``, drawn in batches of expressions of about the same size.

    launch  starts to draw a batch; what it returns waits for the samples. A batch is waited for when the next one has
            been started, so the device is never idle while the host turns images into samples.

    A complete graph of V symbols has V * V relations, so a long expression among short ones makes a batch slow. Never
    reads more than :data:`BATCHES_AHEAD` batches ahead, so memory is bounded.
    """
    tasks = iter(tasks)
    while window := list(itertools.islice(tasks, BATCHES_AHEAD * batch_size)):
        order = sorted(range(len(window)), key=lambda i: len(window[i].graph))
        drawn: dict[int, Sample] = {}
        started: list[tuple[list[int], Callable[[], list[Sample]]]] = []
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            started.append((rows, launch([window[i] for i in rows])))
            if len(started) > 1:
                before, wait = started.pop(0)
                drawn.update(zip(before, wait(), strict=True))
        for rows, wait in started:
            drawn.update(zip(rows, wait(), strict=True))
        for i in range(len(window)):
            yield drawn.pop(i)


def in_shapes(
    tasks: Iterable[Task],
    batch_size: int,
    place: Callable[[Sequence[Task]], Sequence[Placed]],
    launch: Callable[[Sequence[Placed]], Callable[[], list[Sample]]],
    shape_of: Callable[[Placed], tuple[int, int]],
    unit: int,
) -> Iterator[Sample]:
    """As :func:`in_buckets`, for images of many shapes: those of one shape are drawn together, so none is padded.

    place     makes the layouts of some tasks as one batch; shapes of images are known only then
    launch    starts to draw layouts of one shape
    unit      side of the square that ``batch_size`` counts: no batch has more pixels than so many of them, so memory is
              bounded whatever the shapes; a larger image is drawn by itself
    """
    tasks = iter(tasks)
    while window := list(itertools.islice(tasks, BATCHES_AHEAD * batch_size)):
        order = sorted(range(len(window)), key=lambda i: len(window[i].graph))
        placed: dict[int, Placed] = {}
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            placed.update(zip(rows, place([window[i] for i in rows]), strict=True))
        order.sort(key=lambda i: (shape_of(placed[i]), len(window[i].graph)))
        drawn: dict[int, Sample] = {}
        started: list[tuple[list[int], Callable[[], list[Sample]]]] = []
        for shape, same in itertools.groupby(order, key=lambda i: shape_of(placed[i])):
            most = max(1, batch_size * unit**2 // (shape[0] * shape[1]))
            rest = list(same)
            while rest:
                rows, rest = rest[:most], rest[most:]
                started.append((rows, launch([placed[i] for i in rows])))
                if len(started) > 1:
                    before, wait = started.pop(0)
                    drawn.update(zip(before, wait(), strict=True))
        for rows, wait in started:
            drawn.update(zip(rows, wait(), strict=True))
        for i in range(len(window)):
            yield drawn.pop(i)


def fitting_batch(config: ModelConfig, free_bytes: int) -> int:
    """How many images of this configuration fit into that much memory, in float32: 1 to :data:`LARGEST_BATCH`.

    A power of two, as batches are computed (:mod:`hmeg.generation.captured` pads others).

    Counted are the tensors at full resolution that live at the same time, by far the largest: the layout before and
    after noise is appended, the last stage's sums and features, and as much again for what convolutions ask for.
    """
    layout = config.image.gconv_dim + 2 * (config.layout_channels + config.image.noise_dim)
    bytes_per_image = 2 * 4 * (layout + 3 * config.image.refinement_dims[-1]) * config.image.size**2
    return power_of_two_within(min(LARGEST_BATCH, int(0.8 * free_bytes) // bytes_per_image))


def power_of_two_within(count: int) -> int:
    """The largest power of two that is not more than ``count``; at least 1."""
    return 1 << (max(1, count).bit_length() - 1)
