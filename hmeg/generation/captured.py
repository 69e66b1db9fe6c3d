"""Networks replayed as CUDA graphs: one launch instead of hundreds, for inputs of a few fixed sizes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol

import torch
from torch import Tensor

from hmeg.backends import BackendError

MOST_GRAPHS = 8
_WARM_UPS = 3  # calls before a capture, in which libraries choose algorithms and take workspaces

Replay = Callable[[], None]


class Recorder(Protocol):
    """What records a computation to play it again."""

    def record(self, run: Callable[[], Tensor]) -> tuple[Tensor, Replay]:
        """Records what ``run`` does; the tensor that it gives, and what computes it anew from the same inputs."""


class CudaGraphs:
    """Records CUDA graphs, all in one pool of memory: results are copied before the next one is replayed."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, run: Callable[[], Tensor]) -> tuple[Tensor, Replay]:
        try:
            return self._record(run)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise BackendError(f"the GPU refuses to record a CUDA graph ({reason}); use --no-cuda-graphs") from error

    def _record(self, run: Callable[[], Tensor]) -> tuple[Tensor, Replay]:
        current, beside = torch.cuda.current_stream(self._device), torch.cuda.Stream(self._device)
        beside.wait_stream(current)
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                run()
        current.wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=self._pool, stream=beside):
            result = run()
        return result, graph.replay


class _Recording:
    """Inputs at fixed places, and what replays the computation on them."""

    def __init__(self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...], rows: int, by: Recorder) -> None:
        # the format too, channels_last or not, is part of what is recorded
        self.inputs = tuple(torch.empty_like(x[:1].expand(rows, *x.shape[1:])).zero_() for x in inputs)
        self._fill(inputs)
        self.result, self._replay = by.record(lambda: function(*self.inputs))

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        self._fill(inputs)
        self._replay()
        return self.result[: len(inputs[0])].clone()

    def _fill(self, inputs: tuple[Tensor, ...]) -> None:
        for place, x in zip(self.inputs, inputs, strict=True):
            place[: len(x)].copy_(x)
            place[len(x) :].zero_()


class Captured:
    """A function of tensors that are rows of a batch, replayed from recordings.

    function  tensors (N, ...) -> one tensor (N, ...), row by row, on fixed other sizes; it must not look at values

    A batch is padded with zeros to the next power of two, so partial batches need no recording each. At most
    ``most_graphs`` recordings are kept; the one that was not used for longest goes first.
    """

    def __init__(self, recorder: Recorder, most_graphs: int = MOST_GRAPHS) -> None:
        self._recorder = recorder
        self._most = most_graphs
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()

    def __call__(self, name: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """``function(*inputs)``; the same name must always mean the same function."""
        rows = padded(len(inputs[0]))
        key = (name, rows, *((x.shape[1:], x.dtype) for x in inputs))
        recording = self._recordings.get(key)
        if recording is None:
            if len(self._recordings) >= self._most:
                self._recordings.popitem(last=False)  # before the new one asks for memory
            recording = self._recordings[key] = _Recording(function, inputs, rows, self._recorder)
        self._recordings.move_to_end(key)
        return recording(inputs)


def padded(rows: int) -> int:
    """The next power of two."""
    return 1 << (rows - 1).bit_length()
