"""The Ray Data pipeline of a run: a reader on this machine, a pool of actors, and the run's folder at its end."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import hmeg
from hmeg.graph import SymbolGraph
from hmeg.image_sets.sample import Sample

from ..batching import power_of_two_within
from ..engine import check_for
from ..inputs import Entry
from ..manifest import Settings
from ..run import Run
from .actor import Drawer, DrawnBlock, Recipe, loaded, packed, unpacked
from .attempts import MOST, Attempts
from .blocks import Block, blocks
from .cluster import Cluster, ClusterError

if TYPE_CHECKING:
    import ray

READING_THREADS = ("iter_threaded", "StreamingExecutor")  # how their names begin
THREADS_SECONDS = 30  # they take a fraction of a second, if nothing is stuck


@dataclass(frozen=True)
class Weights:
    """Weights to be sent: the name of their file and its content."""

    file: str
    content: bytes


def draw(
    cluster: Cluster,
    weights: Weights,
    run: Run,
    read: Callable[[], Iterable[Entry]],
    batch_size: int,
    on_sample: Callable[[Sample], None],
    on_rejection: Callable[[Entry, str], None],
    cuda_graphs: bool = True,
) -> None:
    """Draw what is missing of ``run`` on the cluster and finish it: as :func:`hmeg.generation.engine.draw` does here.

    read         gives all expressions of the run, from the first one on; called in another process of this machine
    cuda_graphs  whether GPUs replay recordings of the decoder (:mod:`hmeg.generation.captured`)

    Only this process writes. ``ValueError`` for what no worker can draw; :class:`ClusterError` when the cluster fails
    for good. Workers that die are replaced, and what they had in hand is drawn again.
    """
    if not run.manifest.complete:
        recipe = _recipe(cluster, weights, run.settings, batch_size, cuda_graphs)
        results = _results(cluster, weights, recipe, read, run.next_shard, run.written, run.format.check)
        with contextlib.closing(results):  # at once, whatever happens: as long as it lives, actors draw
            for number, of_shard in itertools.groupby(results, lambda result: result.shard):
                run.begin(number)
                for result in of_shard:
                    for rejection in result.rejections:
                        run.reject(rejection.entry.line, rejection.entry.text, rejection.reason)
                        on_rejection(rejection.entry, rejection.reason)
                    for sample, encoded in result.samples:
                        run.write(sample, encoded)
                        on_sample(sample)
                run.commit()
    run.finish()


def fitting_batch_size(cluster: Cluster, weights: Weights, settings: Settings) -> int:
    """A batch size that the memory of the cluster's GPUs allows, asked of one of them; 1 without GPUs."""
    if not cluster.gpus:
        return 1
    import ray

    recipe = _recipe(cluster, weights, settings, 1)
    ask = ray.remote(_fitting_batch_size).options(num_cpus=cluster.cpus, num_gpus=cluster.gpus)
    try:
        answer = ray.get(ask.remote(recipe, weights.content, min(1.0, cluster.gpus)))
    except ray.exceptions.RayError as error:
        raise ClusterError(_in_words(error)) from error
    if isinstance(answer, str):
        raise ClusterError(answer)
    return int(answer)


def _fitting_batch_size(recipe: Recipe, weights: bytes, share: float) -> int | str:
    """What fits into ``share`` of a GPU's memory, or why there is none."""
    try:
        return power_of_two_within(int(share * loaded(recipe, weights).fitting_batch_size()))
    except ValueError as error:
        return str(error)


def _recipe(
    cluster: Cluster, weights: Weights, settings: Settings, batch_size: int, cuda_graphs: bool = True
) -> Recipe:
    device = "cuda" if cluster.gpus else "cpu"
    return Recipe(hmeg.__version__, settings, weights.file, device, cluster.cpus, batch_size, cuda_graphs)


def _results(
    cluster: Cluster,
    weights: Weights,
    recipe: Recipe,
    read: Callable[[], Iterable[Entry]],
    first_shard: int,
    samples: int,
    writable: Callable[[SymbolGraph], None],
) -> Generator[DrawnBlock, None, None]:
    """What has become of every block, in the order of the blocks."""
    import ray
    import ray.data

    content = ray.put(weights.content)  # once, however many actors fetch it; kept until the last result is out
    settings, batch_size = recipe.settings, recipe.batch_size
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    attempts = ray.remote(Attempts).options(num_cpus=0, label_selector=here).remote()
    _configure(ray.data.DataContext.get_current())

    def rows(_: dict[str, Any]) -> Iterator[dict[str, Any]]:
        made = blocks(read(), settings, first_shard, samples, batch_size, check_for(writable, canvas=settings.drawn_on))
        return ({"block": packed(block)} for block in made)

    dataset = (
        ray.data.from_items([0])
        .flat_map(rows, num_cpus=0, label_selector=here)
        .map_batches(
            _Worker,
            fn_constructor_args=(recipe, content, attempts),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=cluster.actors),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
        )
    )
    rows_out = cast("Generator[dict[str, Any], None, None]", iter(dataset.iter_rows()))
    try:
        with _outliving_its_threads(), contextlib.closing(rows_out) as results:
            for row in results:
                result: DrawnBlock = unpacked(row["block"])
                if result.problem is not None:
                    raise ValueError(result.problem)
                yield result
    except ray.exceptions.RayError as error:
        raise ClusterError(_in_words(error)) from error


@contextlib.contextmanager
def _outliving_its_threads() -> Iterator[None]:
    """Waits at the end for the threads in which Ray Data reads meanwhile.

    They notice a moment after an iteration was closed that it is over, and what they drop then talks to Ray. If Ray is
    being shut down in that moment it ends the whole process, with status 1 and without a word.
    """
    before = set(threading.enumerate())
    try:
        yield
    finally:
        deadline = time.monotonic() + THREADS_SECONDS
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith(READING_THREADS):
                thread.join(max(0.0, deadline - time.monotonic()))


class _Worker:
    """A :class:`Drawer` as Ray Data calls it."""

    def __init__(self, recipe: Recipe, content: ray.ObjectRef[bytes], attempts: Any) -> None:
        import ray

        self._attempts = attempts
        self._where = ray.util.get_node_ip_address()
        self._drawer = Drawer(recipe, lambda: ray.get(content), self._where)

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[bytes]]:
        return {"block": [packed(self._drawn(unpacked(content))) for content in rows["block"]]}

    def _drawn(self, block: Block) -> DrawnBlock:
        import ray

        if not block.tasks:
            return self._drawer.draw(block)
        first, last = block.tasks[0].index, block.tasks[-1].index
        if not ray.get(self._attempts.begin.remote(first)):
            problem = (
                f"samples {first} to {last} were given up: {MOST} workers died while they drew them, the last ones on "
                f"{self._where}; they may have run out of memory (Ray's logs say more)"
            )
            return DrawnBlock(block.shard, (), (), problem)
        drawn = self._drawer.draw(block)
        ray.get(self._attempts.end.remote(first))
        return drawn


def _configure(context: ray.data.DataContext) -> None:
    context.execution_options.preserve_order = True
    # Every row is a block of work of its own; Ray Data would collect rows until they are megabytes.
    context.target_min_block_size = context.target_max_block_size = 1
    # The command shows how far the run is.
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its tracebacks; errors come as exceptions


def _in_words(error: Exception) -> str:
    text = str(error)
    if "No module named 'hmeg" in text:
        return f"a node of the cluster has no hmeg: install version {hmeg.__version__} on every node"
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return f"the Ray cluster failed: {lines[-1] if lines else type(error).__name__}"
