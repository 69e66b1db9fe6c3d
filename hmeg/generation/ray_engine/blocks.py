"""What is missing of a run, cut into pieces of work that any actor can do. Imports no Ray."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..batching import BATCHES_AHEAD
from ..contact_sheet import MAX_SAMPLES
from ..generator import Task
from ..inputs import Entry, Rejection, pieces
from ..manifest import Settings


@dataclass(frozen=True)
class Block:
    """Samples to draw, and expressions refused on the way to them; all of one shard.

    shown  of how many samples, from the first one on, the run wants the pixels beside the encoded image
    """

    shard: int
    tasks: tuple[Task, ...]
    rejections: tuple[Rejection, ...]
    shown: int = 0


def blocks(entries: Iterable[Entry], settings: Settings, first_shard: int, batch_size: int) -> Iterator[Block]:
    """Everything from shard ``first_shard`` on, in order; memory is bounded by one block.

    entries  all expressions of the run, from the first one on

    A block holds the tasks that the local engine sorts into batches together (:mod:`hmeg.generation.batching`), so both
    engines compute the same batches. Pixels are for the contact sheet, which a run that goes on has already.
    """
    size = BATCHES_AHEAD * batch_size
    missing = pieces(entries, settings.count, first_shard * settings.shard_size)
    to_show = 0 if first_shard else MAX_SAMPLES
    for shard, of_shard in itertools.groupby(missing, lambda piece: piece.index // settings.shard_size):
        tasks: list[Task] = []
        rejections: list[Rejection] = []
        for piece in of_shard:
            if isinstance(piece, Rejection):
                rejections.append(piece)
            else:
                tasks.append(piece)
            if len(tasks) == size:
                yield Block(shard, tuple(tasks), tuple(rejections), min(to_show, size))
                to_show -= min(to_show, size)
                tasks, rejections = [], []
            elif len(rejections) == size:  # however many follow each other, without cutting the batches otherwise
                yield Block(shard, (), tuple(rejections))
                rejections = []
        if tasks or rejections:
            yield Block(shard, tuple(tasks), tuple(rejections), min(to_show, len(tasks)))
            to_show -= min(to_show, len(tasks))
