"""The engine: what is drawn together, what is encoded elsewhere, and in which order everything comes out."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hmeg.generation.batching import BATCHES_AHEAD, LARGEST_BATCH, fitting_batch, in_buckets
from hmeg.generation.captured import padded
from hmeg.generation.engine import Encoder, WorkerDiedError, default_workers
from hmeg.generation.generator import Generator
from hmeg.generation.inputs import Entry, Rejection, pieces, tasks
from hmeg.generation.tasks import Task
from hmeg.graph.latex import parse_latex
from hmeg.image_sets.encoding import png
from hmeg.model import BASE, SMALL
from tests.support.samples import sample
from tests.support.tiny_model import tiny_model

ENTRIES = [Entry(1, "x"), Entry(2, "\\hbar"), Entry(3, "y"), Entry(4, "?", problem="unreadable"), Entry(5, "z")]


def shown(made):
    return [(p.index, p.entry.line if isinstance(p, Rejection) else p.graph.latex) for p in made]


def test_pieces():
    everything = [(0, "x"), (1, "x"), (2, 2), (4, "y"), (5, "y"), (6, 4), (8, "z"), (9, "z")]
    assert shown(pieces(ENTRIES, 2)) == everything
    for start in range(11):
        assert shown(pieces(ENTRIES, 2, start)) == [p for p in everything if p[0] >= start]


def test_tasks_and_refusals_apart():
    refused = []
    usable = list(tasks(ENTRIES, 1, lambda entry, reason: refused.append((entry.line, reason))))
    assert shown(usable) == [(0, "x"), (2, "y"), (4, "z")]
    assert [line for line, _ in refused] == [2, 4]
    assert "hbar" in refused[0][1]
    assert refused[1][1] == "unreadable"


def test_finished_expressions_are_not_parsed_again(monkeypatch):
    parsed = []
    monkeypatch.setattr("hmeg.generation.inputs.as_graph", lambda text, _: parsed.append(text) or parse_latex("x"))
    assert len(list(pieces([Entry(i, str(i)) for i in range(10)], 3, start=13))) == 17
    assert parsed == [str(i) for i in range(4, 10)]


@pytest.mark.parametrize("workers", [0, 1])
def test_encoder_keeps_order(workers):
    samples = [sample(i) for i in range(50)]
    taken = []

    def lazily():
        for drawn in samples:
            taken.append(drawn.index)
            yield drawn

    with Encoder(png, workers) as encoder:
        stream = encoder.encoded(lazily())
        first = next(stream)
        assert len(taken) <= 1 + 33 * workers
        encoded = [first, *stream]
    assert [drawn.index for drawn, _ in encoded] == list(range(50))
    for drawn, content in encoded:
        assert content == png(drawn.array)


def test_error_of_a_worker_comes_out():
    bad = dataclasses.replace(sample(0), array=np.zeros((2, 2), np.complex64))
    with Encoder(png, 1) as encoder, pytest.raises(TypeError):
        list(encoder.encoded([bad]))


def kill_itself(array):
    """What an encoder does that somebody kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_an_error_in_words():
    with (
        Encoder(kill_itself, 1) as encoder,
        pytest.raises(WorkerDiedError, match=r"that encodes images died: .* the same command goes on"),
    ):
        list(encoder.encoded(map(sample, itertools.count())))


KEEPS_A_WORKER = """
import time
from hmeg.image_sets.encoding import png
from hmeg.generation.engine import Encoder
from tests.support.samples import sample
if __name__ == "__main__":
    with Encoder(png, 1) as encoder:
        list(encoder.encoded([sample(0)]))
        print(*encoder._pool._processes, flush=True)
        time.sleep(600)
"""


@pytest.mark.slow
def test_workers_end_with_a_process_that_is_killed(tmp_path):
    script = tmp_path / "keeps_a_worker.py"
    script.write_text(KEEPS_A_WORKER)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert is_running(worker)
        parent.kill()
    deadline = time.monotonic() + 30
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = is_running(worker)
    if left:
        os.kill(worker, signal.SIGKILL)
    assert not left


def is_running(process):
    """Whether there is such a process that has not ended; one that nobody asks for its exit code is a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_workers():
    assert default_workers("cpu") == 0
    assert 1 <= default_workers("cuda") <= 8


def test_buckets_keep_the_order_and_hold_expressions_of_one_size():
    sizes = np.random.default_rng(0).integers(1, 30, 75)
    made = [Task(i, parse_latex(" ".join("x" * int(n)))) for i, n in enumerate(sizes)]
    batches = []

    def draw(batch):
        batches.append([len(task.graph) for task in batch])
        return lambda: [sample(task.index) for task in batch]

    drawn = [s.index for s in in_buckets(iter(made), 4, draw)]
    assert drawn == list(range(75))
    assert all(len(batch) <= 4 for batch in batches)
    window = batches[:BATCHES_AHEAD]
    assert [n for batch in window for n in batch] == sorted(sizes[: 4 * BATCHES_AHEAD])


def test_buckets_read_a_bounded_number_ahead():
    taken = []
    endless = (taken.append(i) or Task(i, parse_latex("x")) for i in range(10**9))
    stream = in_buckets(endless, 2, lambda batch: lambda: [sample(task.index) for task in batch])
    assert [next(stream).index for _ in range(3)] == [0, 1, 2]
    assert len(taken) == 2 * BATCHES_AHEAD


def test_buckets_draw_what_single_samples_are():
    """What a GPU does with a stream, here on the CPU."""
    generator = Generator(tiny_model(), "cpu", "tiny")
    made = [Task(i, parse_latex(text)) for i, text in enumerate(["x", r"\frac{a}{b}", "y = x^{2}", "1", "a b c"])]
    together = list(in_buckets(made, 2, lambda batch: lambda: generator.draw_together(batch, 3, 64)))
    for got, wanted in zip(together, generator.stream(made, 3, 64), strict=True):
        assert got.index == wanted.index
        np.testing.assert_allclose(got.boxes, wanted.boxes, atol=0.02)
        assert np.abs(got.array.astype(int) - wanted.array).max() <= 1


def test_fitting_batch():
    assert fitting_batch(BASE, 0) == 1
    assert fitting_batch(SMALL, 10**15) == LARGEST_BATCH
    assert fitting_batch(BASE, 40 * 2**30) < fitting_batch(SMALL, 40 * 2**30)
    assert fitting_batch(BASE, 2**30) <= fitting_batch(BASE, 2**34)
    for free in range(0, 2**36, 2**31):
        assert padded(fitting_batch(BASE, free)) == fitting_batch(BASE, free), "padding must not ask for more"
    assert Generator(tiny_model(), "cpu").fitting_batch_size() == 1
