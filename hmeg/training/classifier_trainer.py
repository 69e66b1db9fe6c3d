"""Training of the symbol classifier that measures generated images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hmeg.data.crohme import CrohmeDataset
from hmeg.data.symbol_accuracy import accuracy_on
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.symbol_classifier import SIDE, SymbolClassifier, cut_windows, windows_of

from .expressions import Expressions
from .images import TrainingImages
from .loop import Measured, Stateful
from .optimisation import Optimised, autocast
from .order import Purpose, batch_indices, step_generator
from .settings import ClassifierTrainingConfig
from .trainer import PreparedTrainer, channels_last
from .transfer import to_device

_SHIFT, _GROWTH = 0.06, 0.15  # of windows, as shares of their sides
_FAINTEST, _BLURRED, _NOISE = 0.4, 0.3, 0.1


@dataclass
class SymbolBatch:
    """Expressions, their images, and what is random in the look at their symbols.

    draws (V, 6) uniform: shift in x and y, growth, faintness, whether blurred, how noisy · noise (V, 1, 32, 32) normal
    """

    graph: GraphBatch
    pixels: Tensor
    draws: Tensor
    noise: Tensor


class ClassifierTrainer(PreparedTrainer):
    """Trains a SymbolClassifier on all symbols of a prepared data set, in one process.

    Windows are shifted and scaled a little, ink is made fainter, blurred and noisy: generated images are like that.
    """

    alone = "the classifier"

    config: ClassifierTrainingConfig
    model: SymbolClassifier

    def open(self, data: Path | str) -> None:
        super().open(data)
        self.expressions = Expressions(self.dataset.graphs, with_typeset=False)
        self.images = TrainingImages(self.dataset, self.device, "disk")
        self.validation = CrohmeDataset(self.config.validation) if self.config.validation else None

    def build(self) -> None:
        self.model = SymbolClassifier().to(self.device)
        channels_last(self.model)

    def optimise(self) -> None:
        self.learning = Optimised(self.model, self.config)

    def objects(self) -> dict[str, Stateful]:
        return {"model": self.model, "ema": self.ema, "optimizer": self.learning}

    def rows(self, step: int) -> np.ndarray:
        return batch_indices(len(self.dataset), self.config.batch_size, step, self.config.seed)

    def batch(self, step: int) -> SymbolBatch:
        rows = self.rows(step)
        graph = self.expressions.batch(rows)
        count = len(graph.symbols)
        generator = step_generator(self.config.seed, step, "cpu", Purpose.SYMBOLS)
        return SymbolBatch(
            graph,
            self.images.prepare(rows),
            torch.rand((count, 6), generator=generator),
            torch.randn((count, 1, SIDE, SIDE), generator=generator),
        )

    def step(self, step: int, batch: SymbolBatch) -> dict[str, Tensor]:
        """One optimisation step."""
        batch = to_device(batch, self.device)
        ink = varied_ink(self.images.take(batch.pixels, 1), batch)
        with autocast(self.device, self.config.precision):
            logits = self.model(ink)
        losses = {"class": F.cross_entropy(logits.float(), batch.graph.symbols)}
        losses["gradient"] = self.learning.update(losses, step)
        self.ema.update(self.model)
        return losses

    def measure(self) -> Measured:
        """Accuracy of the averaged weights on the validation set's symbols."""
        assert self.validation is not None
        limit = self.config.validation_limit
        return Measured({"accuracy": accuracy_on(self.ema.module, self.validation, limit)})


def varied_ink(images: Tensor, batch: SymbolBatch) -> Tensor:
    """Ink (V, 1, 32, 32) of the batch's symbols, each looked at a little differently."""
    assert batch.graph.boxes is not None
    draws = 2 * batch.draws - 1
    windows = windows_of(batch.graph.boxes)
    middle, side = (windows[:, :2] + windows[:, 2:]) / 2, windows[:, 2:] - windows[:, :2]
    middle = middle + _SHIFT * side * draws[:, :2]
    half = side / 2 * (1 + _GROWTH * draws[:, 2:3])
    ink = cut_windows(images.contiguous(), torch.cat([middle - half, middle + half], dim=1), batch.graph.batch)
    faintness, blurred, noisy = batch.draws[:, 3:, None, None].unbind(1)
    ink = ink * (_FAINTEST + (1 - _FAINTEST) * faintness[:, None])
    ink = torch.where(blurred[:, None] < _BLURRED, F.avg_pool2d(ink, 3, stride=1, padding=1), ink)
    return (ink + _NOISE * noisy[:, None] * batch.noise).contiguous(memory_format=torch.channels_last)
