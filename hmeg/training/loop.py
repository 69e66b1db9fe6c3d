"""A run of any trainer: the order of steps, logs, checkpoints, interruption. Knows no network."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml
from torch import Tensor
from tqdm import tqdm

from hmeg.files import same_place, write_atomically
from hmeg.precisions import canonical

from .board import add_pictures, add_scalars, open_board
from .checkpoints import checkpoints, in_one_line, load_checkpoint, save_checkpoint
from .loss_log import LossQueue, StepLog, not_finite
from .optimisation import matmul_precision
from .prefetch import Prefetcher
from .processes import Processes
from .settings import FOLDERS, LoopConfig, settings_of, to_yaml
from .signals import Interrupted, StopRequests

CONFIG = "config.yaml"
LOSSES = "losses.jsonl"
MEASURES = "validation.jsonl"
LOG_EVERY = 20  # steps
# What a resumed run may have otherwise than before: none of it changes the numbers of a step. Of --unpaired and --words
# what the files hold is compared (with a checkpoint's data and objects), wherever they lie now.
FREE_SETTINGS = frozenset(
    {"steps", "checkpoint_every", "keep", "device", "tensorboard", "keep_images", "validation", "validate_every",
     "validation_limit", "unpaired", "words"}
)  # fmt: skip


class Stateful(Protocol):
    """A module or an optimiser."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass
class Measured:
    """What looking at a validation set gives: numbers, and pictures (C, H, W) in [0, 1]."""

    values: dict[str, float]
    pictures: dict[str, Tensor] = field(default_factory=dict)


class Note(Protocol):
    """What checkpoints say of a run beside its objects."""

    def entries(self) -> Mapping[str, Any]:
        """Of a checkpoint."""

    def check(self, state: Mapping[str, Any], run: Path) -> None:
        """``ValueError``, naming the run's folder, if its checkpoint says something that forbids to go on."""


class Driven(Protocol):
    """What a run drives: batches made ahead by step number, and what is done with them."""

    @property
    def unit(self) -> str:
        """What the progress bar counts."""

    def prepare(self, step: int) -> Any: ...

    def step(self, step: int, batch: Any) -> Mapping[str, Tensor]: ...

    def describe(self, step: int) -> str: ...

    def measure(self) -> Measured: ...


class TrainingRun:
    """A folder with a run's settings, losses and latest checkpoints.

    out        folder; created. An existing run in it is an error unless ``resume``
    config     written to config.yaml; a resumed run must have been started with the same one, but for FREE_SETTINGS
    objects    name -> module or optimiser, saved and restored
    data       name -> digest of what the run reads; a resumed run must read the same
    processes  those that train together; the leading one writes
    note       what checkpoints say beside that, checked when a run is resumed
    """

    def __init__(
        self,
        out: Path | str,
        config: LoopConfig,
        objects: Mapping[str, Stateful],
        data: Mapping[str, str],
        processes: Processes,
        resume: bool = False,
        note: Note | None = None,
    ) -> None:
        self.out, self.note = Path(out), note
        self.objects, self.data = dict(objects), dict(data)
        self.config, self.processes = config, processes
        self.step = 0
        self.losses, self.measures = StepLog(self.out / LOSSES), StepLog(self.out / MEASURES)
        if (self.out / CONFIG).exists() or checkpoints(self.out):
            if not resume:
                raise ValueError(f"{self.out} holds a run already: go on with it by --resume, or choose another folder")
            self._check_same(settings_of(config))
            if checkpoints(self.out):
                self._restore()
        processes.wait()  # all have looked before the first of them writes
        if processes.leads:
            self.out.mkdir(parents=True, exist_ok=True)
            for log in (self.losses, self.measures):
                log.forget_after(self.step)
            text = to_yaml(settings_of(config))
            write_atomically(self.out / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))

    def _check_same(self, settings: dict[str, Any]) -> None:
        try:
            found = yaml.safe_load((self.out / CONFIG).read_text(encoding="utf-8"))
            # A setting that the run does not have came to hmeg later.
            found = {**settings_of(type(self.config)()), **self.config.formerly, **found}
            different = [k for k in settings if k not in FREE_SETTINGS and not _same(k, settings[k], found.get(k))]
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise ValueError(f"{self.out / CONFIG} does not hold a run's settings: {in_one_line(error)}") from error
        if different:
            wanted = ", ".join(f"{k} was {found.get(k)!r}, now {settings[k]!r}" for k in different)
            raise ValueError(f"{self.out} was started with other settings: {wanted}")

    def _restore(self) -> None:
        state = load_checkpoint(self.out)
        noted = state.get("data", {})  # what a run began without noting came to hmeg later
        changed = [name for name, digest in self.data.items() if noted.get(name, digest) != digest]
        if changed:
            raise ValueError(f"{self.out} was trained on other data: {', '.join(changed)} changed since")
        if self.note is not None:
            self.note.check(state, self.out)
        try:
            for name, thing in self.objects.items():
                thing.load_state_dict(state["objects"][name])
        except (RuntimeError, KeyError, ValueError) as error:
            raise ValueError(f"the last checkpoint of {self.out} does not fit: {in_one_line(error)}") from error
        self.step = int(state["step"])

    def save(self) -> None:
        """Writes a checkpoint atomically."""
        if self.processes.leads:
            objects = {name: thing.state_dict() for name, thing in self.objects.items()}
            state: dict[str, Any] = {"step": self.step, "data": self.data, "objects": objects}
            if self.note is not None:
                state.update(self.note.entries())
            save_checkpoint(self.out, self.step, state, self.config.keep)

    def go(self, trainer: Driven) -> None:
        """Runs the trainer's steps up to ``config.steps``, with progress, logs and checkpoints.

        FloatingPointError when a loss is not finite: nothing is skipped, the last checkpoint is kept.
        :class:`hmeg.training.signals.Interrupted` after SIGTERM or SIGINT, once a checkpoint is written.
        """
        config = self.config
        with ExitStack() as stack:
            stack.enter_context(matmul_precision(config.matmul_precision))
            self._board = open_board(self.out, self.step) if config.tensorboard and self.processes.leads else None
            if self._board is not None:
                stack.callback(self._board.close)
            stop = stack.enter_context(StopRequests())
            batches: Prefetcher[Any] = stack.enter_context(Prefetcher(trainer.prepare, self.step, config.steps))
            self._bar = stack.enter_context(
                tqdm(total=config.steps * config.batch_size, initial=self.step * config.batch_size, unit=trainer.unit,
                     smoothing=0.05, mininterval=1.0, disable=not self.processes.leads)
            )  # fmt: skip
            self._started = time.monotonic()
            queue = LossQueue(self.processes)
            while self.step < config.steps:
                losses = dict(trainer.step(self.step, batches.take()))
                self.step += 1
                self._bar.update(config.batch_size)
                if self.processes.count > 1:  # processes stop together: after a step that one of them wants as the last
                    first = next(iter(losses.values()))
                    losses["stop"] = first.new_full((), float(bool(stop.name)))
                queue.put(self.step, losses)
                saving = self.step % config.checkpoint_every == 0 or self.step == config.steps
                measuring = self._measures_now()
                stopping = bool(stop.name) and self.processes.count == 1
                # Nothing is saved or measured that was not looked at.
                stopping |= self._record(queue.take(all_of_them=saving or measuring or stopping), trainer)
                if stopping:
                    self._record(queue.take(all_of_them=True), trainer)
                if measuring:
                    self._measure(trainer)
                if saving or stopping:
                    self.save()
                if stopping and self.step < config.steps:
                    raise Interrupted(f"{stop.name or 'told to stop'}: {self.out} has a checkpoint of step {self.step}")

    def _record(self, found: list[tuple[int, dict[str, float]]], trainer: Driven) -> bool:
        """Looks at losses as they arrive; returns whether some process wants to stop."""
        stop = False
        for step, values in found:
            stop |= values.pop("stop", 0.0) > 0
            if wrong := not_finite(values):
                kept = checkpoints(self.out)
                last = f"{kept[-1]} is kept" if kept else f"{self.out} has no checkpoint yet"
                batch = trainer.describe(step - 1)
                raise FloatingPointError(f"step {step}: {', '.join(wrong)} not finite; {last}; the batch was {batch}")
            self._bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()}, refresh=False)
            if self.processes.leads and (step % LOG_EVERY == 0 or step == self.config.steps):
                self.losses.write(step, {"seconds": round(time.monotonic() - self._started, 1), **values})
                if self._board is not None:
                    add_scalars(self._board, "loss", step, values)
        return stop

    def _measures_now(self) -> bool:
        every = getattr(self.config, "validate_every", 0) if getattr(self.config, "validation", "") else 0
        return bool(every) and (self.step % every == 0 or self.step == self.config.steps)

    def _measure(self, trainer: Driven) -> None:
        if self.processes.leads:
            found = trainer.measure()
            self.measures.write(self.step, found.values)
            if self._board is not None:
                add_scalars(self._board, "validation", self.step, found.values)
                add_pictures(self._board, self.step, found.pictures)
        self.processes.wait()


def _same(name: str, one: Any, other: Any) -> bool:
    """Whether a setting is the same, a folder's path and a precision however they are typed."""
    if one == other or not isinstance(one, str) or not isinstance(other, str):
        return bool(one == other)
    return canonical(one) == canonical(other) if name == "precision" else name in FOLDERS and same_place(one, other)
