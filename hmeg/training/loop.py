"""What every trainer shares: the order of the data, checkpoints, averaged weights, progress.

Everything random is drawn from (seed, step), never from a running state, so an interrupted run that is resumed from
its checkpoint goes on exactly as if it had not stopped.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from hmeg.devices import select_device
from hmeg.model.safe_pickle import read_pickle

CHECKPOINT = "checkpoint.pt"
CONFIG = "config.json"
LOG = "losses.jsonl"
LOG_EVERY = 20  # steps


def setting(default: Any, description: str) -> Any:
    """A dataclass field with the text that ``--help`` shows for it."""
    return field(default=default, metadata={"help": description})


@dataclass(frozen=True)
class LoopConfig:
    """Settings common to all trainers; each field's text is its entry in ``--help``.

    Raises ValueError, naming the option, for a setting that nothing can be trained with.
    """

    model: str = setting("base", "Model configuration: base or small.")
    steps: int = setting(100_000, "Optimisation steps in all.")
    batch_size: int = setting(8, "Expressions a step.")
    learning_rate: float = setting(1e-4, "Adam's learning rate.")
    decay_steps: int = setting(0, "Cosine decay to zero over this many last steps; 0: constant, as published.")
    ema_decay: float = setting(0.999, "Decay per step of the averaged weights.")
    precision: str = setting("fp32", "fp32, or bf16: autocast with float32 master weights.")
    max_symbols: int = setting(60, "Leave longer expressions out.")
    seed: int = setting(0, "Seed of initial weights, order of the data and noise.")
    device: str = setting("cpu", "Torch device: cpu, cuda, cuda:1, or auto (the GPU if there is one).")
    checkpoint_every: int = setting(500, "Steps between checkpoints.")

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "max_symbols", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{_option(name)} must be at least 1, got {getattr(self, name)}")
        for name in ("decay_steps", "seed", "learning_rate"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{_option(name)} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"{_option('ema_decay')} must be in [0, 1), got {self.ema_decay}")
        object.__setattr__(self, "device", str(select_device(self.device)))

    def rate(self, step: int) -> float:
        """Learning rate of a step (0-based)."""
        left = self.steps - step
        if left >= self.decay_steps:
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 - math.cos(math.pi * left / self.decay_steps))

    def autocast(self) -> torch.autocast:
        """Context for forward passes."""
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.precision == "bf16")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


class Stateful(Protocol):
    """A module or an optimiser."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


def batch_indices(size: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Rows of step ``step``: epochs are permutations drawn from (seed, epoch); the incomplete last batch is dropped.

    A data set smaller than a batch is used whole at every step.
    """
    per_epoch = max(1, size // batch_size)
    epoch, position = divmod(step, per_epoch)
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(size)
    return order[position * batch_size : (position + 1) * batch_size]


def step_generator(seed: int, step: int, device: str) -> torch.Generator:
    """The random generator of one step."""
    mixed = np.random.SeedSequence([seed, step]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(mixed[0]) << 31 ^ int(mixed[1]))


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of a model's weights and batch statistics."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` with a neighbouring path and renames the result: readers see the old file or the new one."""
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)


def in_one_line(error: Exception, limit: int = 240) -> str:
    """An error's text on one line: torch lists every tensor that does not fit."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[:limit] + "..."


def load_checkpoint(run: Path) -> Mapping[str, Any]:
    """The latest checkpoint of a run's folder, on the CPU; ValueError if there is none or it is damaged."""
    try:
        state = read_pickle(run / CHECKPOINT)
    except OSError as error:
        raise ValueError(f"{run / CHECKPOINT} cannot be read: {error.strerror}") from error
    if not {"step", "objects"} <= state.keys():
        raise ValueError(f"{run / CHECKPOINT} is no checkpoint of hmeg train")
    return state


class TrainingRun:
    """A folder with a run's settings, losses and latest checkpoint.

    out      folder; created. An existing run in it is an error unless ``resume``
    config   a frozen dataclass, written to config.json; a resumed run must have been started with the same one,
             ``steps``, ``checkpoint_every`` and ``device`` apart
    objects  name -> module or optimiser, saved and restored
    """

    def __init__(self, out: Path | str, config: Any, objects: Mapping[str, Stateful], resume: bool = False) -> None:
        self.out = Path(out)
        self.objects = dict(objects)
        self.step = 0
        self.config = config
        settings = json.loads(json.dumps(asdict(config)))
        checkpoint = self.out / CHECKPOINT
        if (self.out / CONFIG).exists() or checkpoint.exists():
            if not resume:
                raise ValueError(f"{self.out} holds a run already: go on with it by --resume, or choose another folder")
            self._check_same(settings)
            if checkpoint.exists():
                self._restore()
        self.out.mkdir(parents=True, exist_ok=True)
        write_atomically(self.out / CONFIG, lambda path: path.write_text(json.dumps(settings, indent=1) + "\n"))

    def _check_same(self, settings: dict[str, Any]) -> None:
        free = {"steps", "checkpoint_every", "device"}
        found = json.loads((self.out / CONFIG).read_text())
        different = [k for k in settings if settings[k] != found.get(k) and k not in free]
        if different:
            wanted = ", ".join(f"{k} was {found.get(k)!r}, now {settings[k]!r}" for k in different)
            raise ValueError(f"{self.out} was started with other settings: {wanted}")

    def _restore(self) -> None:
        state = load_checkpoint(self.out)
        try:
            for name, thing in self.objects.items():
                thing.load_state_dict(state["objects"][name])
        except (RuntimeError, KeyError, ValueError) as error:
            raise ValueError(f"{self.out / CHECKPOINT} cannot be resumed from: {in_one_line(error)}") from error
        self.step = int(state["step"])
        self._forget_later_losses()

    def _forget_later_losses(self) -> None:
        """Drops what the log has of steps after the checkpoint (and half a line): they will be done again."""
        log = self.out / LOG
        if not log.exists():
            return
        lines = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        kept = "".join(line for line in lines if json.loads(line)["step"] <= self.step)
        write_atomically(log, lambda path: path.write_text(kept, encoding="utf-8"))

    def save(self) -> None:
        """Writes the checkpoint atomically."""
        state = {"step": self.step, "objects": {name: thing.state_dict() for name, thing in self.objects.items()}}
        write_atomically(self.out / CHECKPOINT, lambda path: torch.save(state, path))

    def go(self, step_function: Callable[[int], Mapping[str, Tensor]], config: LoopConfig, unit: str = "img") -> None:
        """Runs ``step_function(step)`` (returns its losses) up to ``config.steps``, with progress, log and checkpoints.

        FloatingPointError when a loss is not finite: the last checkpoint is kept, nothing is skipped.
        """
        with (
            open(self.out / LOG, "a", encoding="utf-8") as log,
            tqdm(total=config.steps * config.batch_size, initial=self.step * config.batch_size, unit=unit,
                 smoothing=0.05, mininterval=1.0) as bar,
        ):
            started = time.monotonic()
            while self.step < config.steps:
                losses = step_function(self.step)
                self.step += 1
                last = self.step == config.steps
                due = self.step % config.checkpoint_every == 0 or last
                logged = self.step % LOG_EVERY == 0 or last
                if logged or due:  # nothing is saved that was not looked at
                    values = {name: float(value) for name, value in losses.items()}
                    wrong = [name for name, value in values.items() if not math.isfinite(value)]
                    if wrong:
                        raise FloatingPointError(
                            f"step {self.step}: {', '.join(wrong)} not finite; {self.out} keeps its last checkpoint"
                        )
                    bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()}, refresh=False)
                    if logged:
                        record = {"step": self.step, "seconds": round(time.monotonic() - started, 1), **values}
                        log.write(json.dumps(record) + "\n")
                        log.flush()
                bar.update(config.batch_size)
                if due:
                    self.save()
