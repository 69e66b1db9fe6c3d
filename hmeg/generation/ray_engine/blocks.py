"""What is missing of a run, cut into pieces of work that any actor can do. Imports no Ray."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hmeg.graph import SymbolGraph

from ..batching import BATCHES_AHEAD
from ..inputs import Entry, Rejection, pieces
from ..manifest import Settings
from ..overview import is_shown
from ..tasks import Task, check_symbols


@dataclass(frozen=True)
class Block:
    """Samples to draw, and expressions refused on the way to them; all of one shard.

    shown  the places in ``tasks`` of the samples whose pixels the run wants beside the encoded image
    """

    shard: int
    tasks: tuple[Task, ...]
    rejections: tuple[Rejection, ...]
    shown: tuple[int, ...] = ()


def blocks(
    entries: Iterable[Entry],
    settings: Settings,
    first_shard: int,
    samples: int,
    batch_size: int,
    check: Callable[[SymbolGraph], None] = check_symbols,
) -> Iterator[Block]:
    """Everything from shard ``first_shard`` on, in order; memory is bounded by one block.

    entries  all expressions of the run, from the first one on
    samples  that shards before ``first_shard`` hold
    check    as for :func:`hmeg.generation.inputs.pieces`

    A block holds the tasks that the local engine sorts into batches together (:mod:`hmeg.generation.batching`), so both
    engines compute the same batches. Pixels are for the contact sheet (:mod:`hmeg.generation.overview`).
    """
    size = BATCHES_AHEAD * batch_size
    missing = pieces(entries, settings.count, first_shard * settings.shard_size, check)
    for shard, of_shard in itertools.groupby(missing, lambda piece: piece.index // settings.shard_size):
        tasks: list[Task] = []
        rejections: list[Rejection] = []
        for piece in of_shard:
            if isinstance(piece, Rejection):
                rejections.append(piece)
            else:
                tasks.append(piece)
            if len(tasks) == size:
                yield _block(shard, tasks, rejections, samples)
                samples += len(tasks)
                tasks, rejections = [], []
            elif len(rejections) == size:  # however many follow each other, without cutting the batches otherwise
                yield _block(shard, [], rejections, samples)
                rejections = []
        if tasks or rejections:
            yield _block(shard, tasks, rejections, samples)
            samples += len(tasks)


def _block(shard: int, tasks: list[Task], rejections: list[Rejection], samples: int) -> Block:
    shown = tuple(place for place in range(len(tasks)) if is_shown(samples + place))
    return Block(shard, tuple(tasks), tuple(rejections), shown)
