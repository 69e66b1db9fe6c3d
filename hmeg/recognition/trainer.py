"""Training of CAN, on images of handwriting, generated ones, or both."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hmeg.training.checkpoints import load_checkpoint
from hmeg.training.loop import Measured, Stateful
from hmeg.training.optimisation import Optimised, autocast
from hmeg.training.trainer import Trainer, channels_last
from hmeg.training.transfer import to_device

from .checkpoint import BEST, LAST, Facts, save
from .counting import counting_labels
from .data import RecognitionData, open_data
from .encoder import REDUCTION
from .model import CAN, counting_loss, word_loss
from .recogniser import Recogniser
from .scores import score
from .settings import CanTrainingConfig
from .training_batches import TaughtBatch, TrainingBatches
from .words import Words, default_words, read_words


class Adadelta(Optimised):
    """The network's Adadelta, its learning rate with warm-up.

    warmup  steps in which the rate rises
    """

    config: CanTrainingConfig

    def __init__(self, network: nn.Module, config: CanTrainingConfig, warmup: int) -> None:
        super().__init__(network, config, config.weight_decay)
        self.warmup = warmup

    def optimiser(self, weight_decay: float) -> torch.optim.Optimizer:
        return torch.optim.Adadelta(
            self.weights, lr=self.config.learning_rate, eps=self.config.epsilon, weight_decay=weight_decay
        )

    def rate(self, step: int) -> float:
        return super().rate(step) * (min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0)


class Best:
    """The best expression rate so far, kept over interruptions."""

    def __init__(self) -> None:
        self.exprate = -1.0

    def state_dict(self) -> dict[str, Any]:
        return {"exprate": self.exprate}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.exprate = float(state["exprate"])


class CanTrainer(Trainer):
    """Trains a CAN in one process.

    data  places of labelled images, see :func:`hmeg.recognition.data.open_data`
    out   the run's folder; beside what every run has, ``last.pt`` at the end, and with a validation set ``best.pt``,
          of the highest expression rate (chosen on that set: what it reaches there is a little too good)
    What cannot be learned (no LaTeX, unknown tokens, too long) is left out and reported on stderr.
    """

    alone = "the recogniser"

    config: CanTrainingConfig
    model: CAN

    def open(self, data: str | Path | Iterable[str | Path]) -> None:
        config = self.config
        self.words = self._dictionary()
        self.data = open_data(data)
        self.data.leave_out(self.words, config.max_symbols)
        if min(len(self.data), config.batch_size) == 1:
            self._check_single_images(config)
        self.validation = self._open_validation(config)
        self.batches = TrainingBatches(self.data, self.words, config.preparation, config.batch_size, config.seed)
        if config.epochs:
            config = replace(config, steps=config.epochs * self.batches.per_epoch, epochs=0)
        self.config = replace(config, isolate="always" if config.isolated else "never")  # the run's folder says which

    def build(self) -> None:
        self.model = CAN(self.config.model_config(len(self.words))).to(self.device)
        channels_last(self.model)

    def optimise(self) -> None:
        warmup = round(self.config.warmup_epochs * self.batches.per_epoch)
        self.learning = Adadelta(self.model, self.config, warmup)
        self.facts, self.best = Facts(self.words, self.config.preparation, self.config.isolated), Best()

    def objects(self) -> dict[str, Stateful]:
        return {
            "facts": self.facts,  # first: weights of another dictionary have other shapes, which says less
            "model": self.model,
            "ema": self.ema,
            "optimizer": self.learning,
            "best": self.best,
        }

    def digests(self) -> dict[str, str]:
        return {"data set": self.data.digest, "images": self.data.images_digest}

    @property
    def names(self) -> list[str]:
        return self.data.names

    def rows(self, step: int) -> np.ndarray:
        return self.batches.rows(step)

    def batch(self, step: int) -> TaughtBatch:
        return self.batches(step)

    def _dictionary(self) -> Words:
        """The file's that is named, or what a run that goes on has begun with, or the built-in one."""
        if self.config.words:
            return read_words(Path(self.config.words))
        if self.resumes:
            facts = load_checkpoint(self.out)["objects"].get("facts", {})
            return Words([str(word) for word in facts.get("words", ())], f"the dictionary of the run in {self.out}")
        return default_words()

    def _open_validation(self, config: CanTrainingConfig) -> RecognitionData | None:
        if not config.validation:
            return None
        validation = open_data(config.validation)
        validation.first(config.validation_limit)
        return validation

    def _check_single_images(self, config: CanTrainingConfig) -> None:
        """Batch normalisation needs two positions of the features; an image in company always has them."""
        for row, name in enumerate(self.data.names):
            height, width = config.preparation(self.data.image(row)).shape
            if max(height, width) <= REDUCTION:
                raise ValueError(
                    f"{name} has {height} x {width} pixels after --trim {config.trim} --shrink {config.shrink}: nothing"
                    f" can be learned from so few in a batch of one image. Give a smaller --shrink, so that more than"
                    f" {REDUCTION} are left on a side, or more images and a larger --batch-size"
                )

    def train(self) -> Path:
        """Runs to the configured number of steps; the path of ``last.pt``."""
        for note in self.data.notes:
            print(note, file=sys.stderr)
        super().train()
        save(self.run.out / LAST, self.ema.module, self.facts)
        return self.run.out / LAST

    def step(self, step: int, batch: TaughtBatch) -> dict[str, Tensor]:
        """One optimisation step."""
        batch = to_device(batch, self.device)
        torch.manual_seed(_dropout_seed(self.config.seed, step))
        losses = self.losses(batch)
        losses["gradient"] = self.learning.update(losses, step)
        self.ema.update(self.model)
        return losses

    def losses(self, batch: TaughtBatch) -> dict[str, Tensor]:
        """Word loss and counting loss."""
        images = batch.images.images().contiguous(memory_format=torch.channels_last)
        isolated = self.config.isolated and batch.images.filled
        with autocast(self.device, self.config.precision):
            taught = self.model.train()(images, batch.images.mask(), batch.tokens, isolated=isolated)
        labels = counting_labels(batch.tokens, len(self.words), self.words.uncounted)
        return {
            "words": word_loss(taught.scores, batch.tokens, batch.token_mask if self.config.mask_labels else None),
            "counting": counting_loss(taught.encoded, labels),
        }

    def measure(self) -> Measured:
        """Reads the validation set; the best weights so far are kept in ``best.pt``."""
        assert self.validation is not None
        recogniser = Recogniser(self.ema.module, self.words, self.config.preparation, self.config.precision)
        data = self.validation
        readings = recogniser.recognise(data.image(row) for row in range(len(data)))
        scores, _ = score(self.words, data.tokens, readings)
        if scores.exprate > self.best.exprate:
            self.best.exprate = scores.exprate
            save(self.run.out / BEST, self.ema.module, self.facts)
        values = {name: value for name, value in vars(scores).items() if name != "expressions"}
        return Measured(values)


def _dropout_seed(seed: int, step: int) -> int:
    """Dropout draws from torch's own generator: it is seeded at every step, so that a resumed run draws the same."""
    low, high = np.random.SeedSequence([seed, step]).generate_state(2, np.uint32)
    return int(low) << 31 ^ int(high)


def train_can(
    data: str | Path | Iterable[str | Path],
    out: str | Path,
    settings: CanTrainingConfig | None = None,
    resume: bool = False,
) -> Path:
    """Trains a recogniser; returns the path of its weights, ``out/last.pt``, ready for ``evaluate_recognition``.

    data      places of labelled images, real and generated ones together if wanted; a text may join several by commas
    out       folder of the run; ValueError if it holds one already, unless ``resume``
    settings  :class:`hmeg.recognition.settings.CanTrainingConfig`; None: as published
    Raises ValueError, in one line, for data or settings that nothing can be trained with, FloatingPointError when a
    loss is not finite, :class:`hmeg.training.signals.Interrupted` after SIGTERM or SIGINT, with a checkpoint written.
    """
    return CanTrainer(data, out, settings or CanTrainingConfig(), resume).train()
