"""Layout training: graph and noise -> boxes, judged on Less-is-More sub-graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from hmeg.model.config import ModelConfig
from hmeg.model.discriminators import LayoutDiscriminator
from hmeg.model.layout import LayoutGenerator

from .layout_batch import LayoutBatch, LayoutBatches
from .layout_losses import box_loss, discriminator_loss, fooling_loss, spread_loss
from .loop import Measured, Stateful
from .noted_model import NotedModel
from .optimisation import Optimised
from .settings import LayoutTrainingConfig
from .trainer import PreparedTrainer
from .transfer import to_device
from .validation import ValidationSet


class LayoutTrainer(PreparedTrainer):
    """Trains a LayoutGenerator against a LayoutDiscriminator on a prepared data set, as published.

    The L1 term is about training expressions; the adversarial terms are about other ones, drawn from the training set
    or, in half of the steps, from expressions without handwriting, with noise of their own.
    """

    config: LayoutTrainingConfig
    model: LayoutGenerator

    def open(self, data: Path | str) -> None:
        super().open(data)
        self.model_config = ModelConfig.named(self.config.model)
        self.batches = LayoutBatches(self.dataset, self.config, self.model_config, self.processes)

    def build(self) -> None:
        self.model = LayoutGenerator(self.model_config).to(self.device)
        self.discriminator = LayoutDiscriminator().to(self.device)
        self.processes.prepare(self.discriminator)

    def optimise(self) -> None:
        self.generating = Optimised(self.model, self.config)
        self.judging = Optimised(self.discriminator, self.config, self.config.discriminator_weight_decay)
        averaging = self.processes.averaging
        self._generator_losses = averaging(self.model, self.generator_losses, unused=False)
        self._discriminator_loss = averaging(self.discriminator, self.discriminator_loss, unused=False)
        self.validation = ValidationSet.configured(self.config, self.model_config, self.device)

    def objects(self) -> dict[str, Stateful]:
        return {
            "model": self.model,
            "discriminator": self.discriminator,
            "ema": self.ema,
            "optimizer": self.generating,
            "discriminator_optimizer": self.judging,
        }

    def digests(self) -> dict[str, str]:
        return {**super().digests(), "unpaired expressions": self.batches.unpaired_digest}

    def note(self) -> NotedModel:
        return NotedModel(self.model_config)

    def rows(self, step: int) -> np.ndarray:
        return self.batches.rows(step)

    def batch(self, step: int) -> LayoutBatch:
        return self.batches(step)

    def step(self, step: int, batch: LayoutBatch) -> dict[str, Tensor]:
        """One optimisation step of the generator, then one of the discriminator."""
        batch = to_device(batch, self.device)
        self.discriminator.requires_grad_(False)
        losses, fake_boxes = self._generator_losses(batch)
        losses["gradient"] = self.generating.update(losses, step)
        self.ema.update(self.model)
        if fake_boxes is None:
            return losses

        self.discriminator.requires_grad_(True)
        judged = {"discriminator": self._discriminator_loss(batch, fake_boxes.detach())}
        return {**losses, **judged, "d_gradient": self.judging.update(judged, step)}

    def generator_losses(self, batch: LayoutBatch) -> tuple[dict[str, Tensor], Tensor | None]:
        """Weighted terms of the generator's loss, and the fakes' boxes (V', 4) if any are judged."""
        config, fake_boxes = self.config, None
        read = self.model.read(batch.graph)
        boxes = self.model.place(batch.graph, read, batch.noise)
        losses = {"box": config.box_weight * box_loss(boxes, batch)}
        if batch.other_noise is not None:
            other = self.model.place(batch.graph, read, batch.other_noise)
            losses["spread"] = config.spread_weight * spread_loss(boxes, other, batch)
        if config.adversarial_weight:
            fake_boxes = self.model(batch.fakes, batch.fake_noise)
            fooling = fooling_loss(self.discriminator, batch, fake_boxes)
            losses["adversarial"] = config.adversarial_weight * fooling
        return losses, fake_boxes

    def discriminator_loss(self, batch: LayoutBatch, fake_boxes: Tensor) -> Tensor:
        """The discriminator's weighted loss."""
        return self.config.adversarial_weight * discriminator_loss(self.discriminator, batch, fake_boxes)

    def measure(self) -> Measured:
        """How well the averaged weights place the symbols of the validation set."""
        assert self.validation is not None
        return self.validation.measure_boxes(self.ema.module)
