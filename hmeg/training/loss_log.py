"""Losses on their way from the device to the reader, without the trainer waiting for any of them."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hmeg.files import write_atomically
from hmeg.quoting import quoted

from .processes import Processes

LAG = 4  # steps between a loss and its being looked at


@dataclass
class _Sent:
    step: int
    names: list[str]
    values: Tensor
    arrived: torch.cuda.Event | None


class LossQueue:
    """Losses of the last steps: put as tensors, taken as numbers :data:`LAG` steps later, in order."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._sent: deque[_Sent] = deque()

    def put(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Sends the losses of a step on their way (their mean over all processes)."""
        values = self._processes.mean(torch.stack([value.detach().float() for value in losses.values()]))
        arrived = None
        if values.is_cuda:
            landing = torch.empty(values.shape, pin_memory=True)
            values = landing.copy_(values, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        self._sent.append(_Sent(step, list(losses), values, arrived))

    def take(self, all_of_them: bool = False) -> list[tuple[int, dict[str, float]]]:
        """(step, name -> value) of the steps that are due; ``all_of_them`` waits for the last ones too."""
        found = []
        while self._sent and (all_of_them or len(self._sent) > LAG):
            sent = self._sent.popleft()
            if sent.arrived is not None:
                sent.arrived.synchronize()
            found.append((sent.step, dict(zip(sent.names, sent.values.tolist(), strict=True))))
        return found


def not_finite(losses: Mapping[str, float]) -> list[str]:
    """Names of the losses that are not."""
    return [name for name, value in losses.items() if not math.isfinite(value)]


class StepLog:
    """A file with one JSON object a line, each about one step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line, at once."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def forget_after(self, step: int) -> None:
        """Drops lines about later steps, and half a line of a run that was killed: they will be done again.

        ``ValueError``, naming the line, for another that is no record.
        """
        if not self.path.exists():
            return
        text = self.path.read_text(encoding="utf-8", errors="backslashreplace")
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        kept = "".join(line for number, line in enumerate(lines, 1) if self._step(number, line) <= step)
        write_atomically(self.path, lambda path: path.write_text(kept, encoding="utf-8"))

    def _step(self, number: int, line: str) -> int:
        try:
            return int(json.loads(line)["step"])
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            what = f"{self.path}, line {number}, is no record of a step: {quoted(line.strip())}"
            raise ValueError(f"{what}; take that line out, or remove the file: it is for curves only") from error
