"""What all trainers have in common: the order in which they are made, batches, names of what a step learns from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hmeg.data.crohme import CrohmeDataset

from .averages import AveragedWeights
from .checkpoints import checkpoints
from .expressions import dataset_digest
from .loop import Measured, Note, Stateful, TrainingRun
from .processes import Processes
from .settings import LoopConfig
from .transfer import pinned


class Trainer(ABC):
    """A network in training, with all that a :class:`hmeg.training.loop.TrainingRun` drives.

    data    what is learned from, as :meth:`open` takes it
    out     folder of the run
    resume  go on with the run that is in ``out``

    A subclass says what is its own, in this order: :meth:`open` data, :meth:`build` networks (``self.model`` is the one
    whose average is kept), :meth:`optimise` them, :meth:`objects` and :meth:`digests` for checkpoints; then, for every
    step, :meth:`rows`, :meth:`batch` and :meth:`step`.
    """

    unit: ClassVar[str] = "expr"  # what the progress bar counts
    alone: ClassVar[str] = ""  # what is trained, if one process must train it

    config: Any  # each trainer's own kind
    model: nn.Module

    def __init__(self, data: Any, out: Path | str, config: LoopConfig, resume: bool = False) -> None:
        self.config = config
        self.processes = Processes.join(config.device)
        if self.alone and self.processes.count > 1:
            raise ValueError(f"{self.alone} is trained by one process")
        self.device = self.processes.device
        self.out = Path(out)
        self.resumes = resume and bool(checkpoints(self.out))  # then checkpoints bring the weights
        self.open(data)
        torch.manual_seed(self.config.seed)
        self.build()
        self.ema: AveragedWeights[Any] = AveragedWeights(self.model, self.config.ema_decay)
        self.optimise()
        self.run = TrainingRun(
            out, self.config, self.objects(), self.digests(), self.processes, resume, note=self.note()
        )

    @abstractmethod
    def open(self, data: Any) -> None:
        """Opens what is learned from; may settle ``self.config`` by it."""

    @abstractmethod
    def build(self) -> None:
        """Makes the networks, with the weights that they start from. torch's generator has the configuration's seed."""

    @abstractmethod
    def optimise(self) -> None:
        """Makes the optimisers, and whatever wants networks that are complete."""

    @abstractmethod
    def objects(self) -> dict[str, Stateful]:
        """Name -> what checkpoints save and restore, in the order of restoring."""

    @abstractmethod
    def digests(self) -> dict[str, str]:
        """Name -> digest of what the run reads; a resumed run must read the same."""

    def note(self) -> Note | None:
        """What checkpoints note beside that."""
        return None

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """Of all expressions."""

    @abstractmethod
    def rows(self, step: int) -> np.ndarray:
        """Which expressions a step learns from."""

    @abstractmethod
    def batch(self, step: int) -> Any:
        """A step's batch, a dataclass of tensors on the CPU."""

    @abstractmethod
    def step(self, step: int, batch: Any) -> Mapping[str, Tensor]:
        """Learns from a batch; returns losses and norms of gradients by name."""

    @abstractmethod
    def measure(self) -> Measured:
        """How well the averaged weights do on the validation set."""

    def train(self) -> Any:
        """Runs to the configured number of steps."""
        self.run.go(self)

    def prepare(self, step: int) -> Any:
        """A step's batch, from where the device fetches it fastest."""
        batch = self.batch(step)
        return pinned(batch) if self.device.startswith("cuda") else batch

    def describe(self, step: int) -> str:
        """The training expressions of a step, by name."""
        return ", ".join(self.names[int(row)] for row in self.rows(step))


class PreparedTrainer(Trainer):
    """A trainer that learns from the folder of a prepared data set."""

    def open(self, data: Path | str) -> None:
        self.dataset = CrohmeDataset(data, self.config.max_symbols)

    def digests(self) -> dict[str, str]:
        return {"data set": dataset_digest(self.dataset)}

    @property
    def names(self) -> Sequence[str]:
        return self.dataset.names


def channels_last(network: nn.Module) -> None:
    """Puts a network's weights into that memory format, in place."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it alone
