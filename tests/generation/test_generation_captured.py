"""What a GPU does with batches, played on the CPU: recordings, padding, and who waits for whom.

CUDA's own graphs, streams and pinned memory are not run here; what stands in for them records and replays.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmeg.backends import BackendError
from hmeg.canvas import Canvas
from hmeg.generation import captured
from hmeg.generation.batching import in_buckets
from hmeg.generation.captured import Captured, CudaGraphs, padded
from hmeg.generation.generator import Generator
from hmeg.generation.staging import HostStaging
from hmeg.generation.tasks import Task
from hmeg.graph.latex import parse_latex
from tests.support.tiny_model import tiny_model

TEXTS = ["x", r"\frac{a}{b}", "y = x^{2}", "1", "a b c", "2 + 2", "z"]


class Recorder:
    """Computes anew at every replay, into the tensor that was given at first: as a CUDA graph does."""

    def __init__(self):
        self.recorded, self.replayed = 0, 0

    def record(self, run):
        self.recorded += 1
        result = run().clone()
        result.fill_(float("nan"))  # a capture computes nothing yet

        def replay():
            self.replayed += 1
            result.copy_(run())

        return result, replay


def test_padding_and_reuse():
    recorder, seen = Recorder(), []

    def double(x, y):
        seen.append((tuple(x.shape), x.data_ptr()))
        assert not x[int((x != 0).any(1).sum()) :].any()  # rows nobody asked for are zero
        return 2 * x + y

    function = Captured(recorder)
    for rows in (5, 8, 7, 5, 3, 4, 1):
        x, y = torch.arange(1.0, 3 * rows + 1).reshape(rows, 3), torch.full((rows, 3), 0.5)
        got = function("double", double, x, y)
        assert torch.equal(got, 2 * x + 0.5)
        kept = got.clone()
        function("double", double, torch.zeros(rows, 3), y)
        assert torch.equal(got, kept)  # a result is not overwritten by what is replayed later
    assert recorder.recorded == 3
    assert recorder.replayed == 14
    assert {shape for shape, _ in seen} == {(8, 3), (4, 3), (1, 3)}
    assert len({place for _, place in seen}) == 3


def test_padded():
    assert [padded(n) for n in (1, 2, 3, 4, 5, 8, 9, 255, 256, 257)] == [1, 2, 4, 4, 8, 8, 16, 256, 256, 512]


def test_what_differs_has_a_recording_of_its_own_and_few_are_kept():
    recorder = Recorder()
    function = Captured(recorder, most_graphs=2)
    calls = [
        ("square", torch.square, torch.ones(2, 3)),
        ("square", torch.square, torch.ones(2, 4)),
        ("square", torch.square, torch.ones(2, 3)),
        ("square", torch.square, torch.ones(2, 3, dtype=torch.float64)),  # the second one goes
        ("square", torch.square, torch.ones(2, 3)),
        ("negative", torch.neg, torch.ones(2, 3)),  # the third one goes
        ("square", torch.square, torch.ones(2, 4)),
    ]
    recorded = []
    for name, run, x in calls:
        assert torch.equal(function(name, run, x), run(x))
        recorded.append(recorder.recorded)
        assert len(function._recordings) <= 2
    assert recorded == [1, 2, 2, 3, 3, 4, 5]


def test_formats_of_memory_are_kept():
    formats = []

    def note(x):
        formats.append(x.is_contiguous(memory_format=torch.channels_last))
        return x.clone()

    image = torch.rand(3, 4, 5, 6).contiguous(memory_format=torch.channels_last)
    assert torch.equal(Captured(Recorder())("note", note, image), image)
    assert all(formats)


def test_generator_with_recordings_draws_the_same():
    generator = Generator(tiny_model(), "cpu", "tiny")
    made = [Task(i, parse_latex(text)) for i, text in enumerate(TEXTS)]
    wanted = list(generator.stream(made, 3, 64))
    recorder = Recorder()
    generator._captured = Captured(recorder)
    for _ in range(2):
        got = list(in_buckets(made, 3, lambda batch: generator._launch(batch, 3, Canvas.square(64))))
        for one, other in zip(got, wanted, strict=True):
            assert one.index == other.index
            np.testing.assert_allclose(one.boxes, other.boxes, atol=0.02)
            assert np.abs(one.array.astype(int) - other.array).max() <= 1
    assert (recorder.recorded, recorder.replayed) == (2, 6)  # batches of 3, 3 and 1, twice


def test_next_batch_starts_before_the_last_is_waited_for():
    generator = Generator(tiny_model(), "cpu", "tiny")
    events = []

    class Noting(HostStaging):
        def fetch(self, tensor):
            number = sum(kind == "fetch" for kind, _ in events)
            events.append(("fetch", number))
            arrival = super().fetch(tensor)
            return lambda: events.append(("wait", number)) or arrival()

    generator._staging = Noting()
    made = [Task(i, parse_latex(text)) for i, text in enumerate(TEXTS)]
    got = [s.index for s in in_buckets(made, 2, lambda batch: generator._launch(batch, 3, Canvas.square(64)))]
    assert got == list(range(7))
    assert events == [
        *(("fetch", 0), ("fetch", 1), ("wait", 0), ("fetch", 2), ("wait", 1), ("fetch", 3), ("wait", 2), ("wait", 3))
    ]


def test_gpu_that_cannot_record(monkeypatch):
    """A way out is named; lack of memory stays what it is."""
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    graphs = CudaGraphs(torch.device("cuda"))
    for raised, wanted, text in (
        (RuntimeError("operation not permitted\nwhen stream is capturing"), BackendError, "use --no-cuda-graphs"),
        (torch.OutOfMemoryError("too much"), torch.OutOfMemoryError, "too much"),
    ):

        def current(device, raised=raised):
            raise raised

        monkeypatch.setattr(captured.torch.cuda, "current_stream", current)
        with pytest.raises(wanted, match=text):
            graphs.record(lambda: torch.zeros(1))
