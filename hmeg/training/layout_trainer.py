"""Layout training: graph and noise -> boxes, judged on Less-is-More sub-graphs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset
from hmeg.model.config import ModelConfig
from hmeg.model.discriminators import LayoutDiscriminator
from hmeg.model.layout import LayoutGenerator

from .averages import AveragedWeights
from .expressions import dataset_digest
from .layout_batch import LayoutBatch, LayoutBatches
from .layout_losses import box_loss, discriminator_loss, fooling_loss, spread_loss
from .loop import Measured, TrainingRun
from .optimisation import Optimised
from .processes import Processes
from .settings import LayoutTrainingConfig
from .transfer import pinned, to_device
from .validation import ValidationSet


class LayoutTrainer:
    """Trains a LayoutGenerator against a LayoutDiscriminator on a prepared data set, as published.

    The L1 term is about training expressions; the adversarial terms are about other ones, drawn from the training set
    or, in half of the steps, from expressions without handwriting, with noise of their own.
    """

    unit = "expr"

    def __init__(self, data: Path | str, out: Path | str, config: LayoutTrainingConfig, resume: bool = False) -> None:
        self.config = config
        self.processes = Processes.join(config.device)
        self.device = self.processes.device
        self.dataset = CrohmeDataset(data, config.max_symbols)
        self.model_config = ModelConfig.named(config.model)
        self.batches = LayoutBatches(self.dataset, config, self.model_config, self.processes)
        torch.manual_seed(config.seed)
        self.model = LayoutGenerator(self.model_config).to(self.device)
        self.discriminator = LayoutDiscriminator().to(self.device)
        self.processes.prepare(self.discriminator)
        self.ema = AveragedWeights(self.model, config.ema_decay)
        self.generating = Optimised(self.model, config)
        self.judging = Optimised(self.discriminator, config, config.discriminator_weight_decay)
        self._generator_losses = self.processes.averaging(self.model, self.generator_losses, unused=False)
        self._discriminator_loss = self.processes.averaging(self.discriminator, self.discriminator_loss, unused=False)
        self.validation = ValidationSet.configured(config, self.model_config, self.device)
        self.run = TrainingRun(
            out,
            config,
            {
                "model": self.model,
                "discriminator": self.discriminator,
                "ema": self.ema,
                "optimizer": self.generating,
                "discriminator_optimizer": self.judging,
            },
            {
                "data set": dataset_digest(self.dataset),
                "unpaired expressions": "none" if self.batches.unpaired is None else self.batches.unpaired.digest,
            },
            self.processes,
            resume,
            model=self.model_config,
        )

    def train(self) -> None:
        """Runs to the configured number of steps."""
        self.run.go(self)

    def prepare(self, step: int) -> LayoutBatch:
        """A step's batch, on the CPU."""
        batch = self.batches(step)
        return pinned(batch) if self.device.startswith("cuda") else batch

    def describe(self, step: int) -> str:
        """The training expressions of a step, by name."""
        return ", ".join(self.dataset.names[int(row)] for row in self.batches.rows(step))

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
