"""A process of a run under torchrun: ``two_processes.py DATA OUT``; without torchrun the run of one process."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.distributed
from torch import nn

from hmeg.model.discriminators import BoxStandardiser
from hmeg.model.mask import MaskRefiner
from hmeg.training import loop
from hmeg.training.joint_trainer import JointTrainer
from hmeg.training.layout_batch import LayoutBatch
from hmeg.training.layout_trainer import LayoutTrainer
from hmeg.training.processes import Processes
from hmeg.training.settings import JointTrainingConfig
from hmeg.training.signals import Interrupted
from tests.support.training_data import IMAGE, LAYOUT

LAYOUT_RUN = replace(LAYOUT, steps=8, batch_size=6)
# Critics and generator in training mode at first, then with frozen statistics.
JOINT_RUN = JointTrainingConfig(**asdict(replace(IMAGE, steps=3, batch_size=4, frozen_statistics_step=2)))


def statistics() -> list[torch.Tensor]:
    """Output and gradients, in float64, of everything that has batch statistics; 10 rows, of each process its part."""
    processes = Processes.join("cpu")
    torch.manual_seed(0)
    networks = [nn.BatchNorm2d(3), nn.BatchNorm1d(4), MaskRefiner(5, 8), BoxStandardiser()]
    network = nn.ModuleList(networks).double()
    inputs = [torch.randn(10, 3, 4, 4), torch.randn(10, 4), torch.rand(10, 4), torch.rand(10, 4)]
    processes.prepare(network)
    mine = slice(0, 10) if processes.count == 1 else (slice(0, 4), slice(4, 10))[processes.rank]
    found = []
    for part, whole in zip(network, inputs, strict=True):
        x = whole.double()[mine].requires_grad_()
        y = part(x)
        (y * torch.linspace(-1, 1, whole.shape[0])[mine].double().view(-1, *[1] * (y.dim() - 1))).sin().sum().backward()
        found += [y.detach(), x.grad]
        for weight in part.parameters():
            if processes.count > 1:
                torch.distributed.all_reduce(weight.grad)
            found.append(weight.grad)
        found += [buffer for buffer in part.buffers() if buffer.is_floating_point()]
    if processes.count == 1:
        return found
    parts: list[list[torch.Tensor] | None] = [None, None]
    torch.distributed.all_gather_object(parts, found)
    first, second = parts
    assert first is not None
    assert second is not None
    # What differs in its number of rows was shared out; all else is the same everywhere.
    return [torch.cat([a, b]) if (len(a), len(b)) == (4, 6) else a for a, b in zip(first, second, strict=True)]


def stopped(data: Path, out: Path) -> None:
    """A run whose last process is told to stop: all of them stop, after the same step."""
    trainer = LayoutTrainer(data, out, replace(LAYOUT_RUN, steps=1000, checkpoint_every=1000))
    step = trainer.step

    def interrupted(index: int, batch: LayoutBatch) -> dict[str, torch.Tensor]:
        if index == 2 and trainer.processes.rank == trainer.processes.count - 1:
            signal.raise_signal(signal.SIGTERM)
        return step(index, batch)

    trainer.step = interrupted  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match="step"):
        trainer.train()


def main(data: Path, out: Path) -> None:
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    found = statistics()
    if Processes.join("cpu").leads:
        torch.save(found, out / "statistics.pt")
    loop.LOG_EVERY = 1
    # Only the leading process measures; the others wait for it.
    measured = replace(LAYOUT_RUN, validation=str(data), validate_every=4)
    LayoutTrainer(data, out / "layout", measured).train()
    JointTrainer(data, out / "joint", JOINT_RUN).train()
    stopped(data, out / "stopped")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
