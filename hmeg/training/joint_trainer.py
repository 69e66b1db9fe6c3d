"""Joint training: graph -> boxes -> masks -> image in one differentiable piece."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset
from hmeg.model.config import ModelConfig
from hmeg.model.discriminators import LayoutDiscriminator
from hmeg.model.hmeg import HMEG

from .averages import AveragedWeights
from .checkpoints import checkpoints
from .expressions import dataset_digest
from .image_batch import ImageBatch, ImageBatches, image_noise
from .image_losses import ImageDiscriminators, Target, discriminator_losses, generator_losses
from .image_trainer import check_size, fill_glyphs
from .images import TrainingImages
from .layout_batch import LayoutBatch, LayoutBatches
from .layout_losses import box_loss, discriminator_loss, fooling_loss
from .loop import Measured, TrainingRun
from .optimisation import Optimised, autocast
from .processes import Processes
from .settings import JointTrainingConfig
from .starting import start_from
from .transfer import pinned, to_device
from .validation import ValidationSet


@dataclass
class JointBatch:
    """The same expressions twice: with their images, and with what the layout's losses want."""

    image: ImageBatch
    layout: LayoutBatch


@dataclass
class Drawn:
    """What the networks made of a batch, without gradient: images at ``boxes``, and the fakes' boxes."""

    images: dict[int, Tensor]
    boxes: Tensor
    fake_boxes: Tensor


class JointTrainer:
    """Trains all of HMEG on a prepared data set.

    The published trainers are two, and the image model sees true boxes only. Here images are drawn at the generated
    boxes: the gradients of their losses reach the layout generator, through the soft masks, the crops of the object
    discriminators and whatever else of the layout depends on boxes. All other losses are those of the two trainers.
    """

    unit = "img"

    def __init__(self, data: Path | str, out: Path | str, config: JointTrainingConfig, resume: bool = False) -> None:
        self.config = config
        self.processes = Processes.join(config.device)
        self.device = self.processes.device
        self.dataset = CrohmeDataset(data, config.max_symbols)
        self.model_config = ModelConfig.named(config.model)
        check_size(self.dataset, self.model_config)
        torch.manual_seed(config.seed)
        self.model = HMEG(self.model_config).to(self.device)
        self.discriminators = ImageDiscriminators(self.model_config.image.channels, config).to(self.device)
        self.layout_discriminator = LayoutDiscriminator().to(self.device)
        for network in (self.model, self.discriminators):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it alone
            self.processes.prepare(network)
        self.processes.prepare(self.layout_discriminator)
        starting = not (resume and checkpoints(Path(out)))  # a resumed run has its own weights by now
        if starting:
            self._start()
        drawing = starting and bool(config.start_from or config.start_image)
        glyphs = fill_glyphs(self.model.image_model, self.dataset, config, keep=drawing)
        self.images = TrainingImages(self.dataset, self.device, config.keep_images)
        self.image_batches = ImageBatches(self.dataset, config, self.model_config, self.images, self.processes, glyphs)
        self.layout_batches = LayoutBatches(self.dataset, config, self.model_config, self.processes)
        self.ema = AveragedWeights(self.model, config.ema_decay)
        self.generating = Optimised(self.model, config)
        self.judging = Optimised(self.discriminators, config) if config.adversarial_scales else None
        self.judging_layout = Optimised(self.layout_discriminator, config, config.discriminator_weight_decay)
        if config.compile:
            for convolutions in (self.model.image_model.decoder, *self.discriminators.patch.values()):
                convolutions.compile()
        averaging = self.processes.averaging
        self._generator_losses = averaging(self.model, self.generator_losses, unused=True)
        if self.judging:
            self._discriminator_losses = averaging(self.discriminators, self.discriminator_losses, unused=False)
        self._layout_discriminator_loss = averaging(
            self.layout_discriminator, self.layout_discriminator_loss, unused=False
        )
        self.validation = ValidationSet.configured(config, self.model_config, self.device)
        unpaired = self.layout_batches.unpaired
        self.run = TrainingRun(
            out,
            config,
            {
                "model": self.model,
                "discriminators": self.discriminators,
                "layout_discriminator": self.layout_discriminator,
                "ema": self.ema,
                "optimizer": self.generating,
                **({"discriminator_optimizer": self.judging} if self.judging else {}),
                "layout_discriminator_optimizer": self.judging_layout,
            },
            {
                "data set": dataset_digest(self.dataset),
                "unpaired expressions": "none" if unpaired is None else unpaired.digest,
            },
            self.processes,
            resume,
            model=self.model_config,
        )

    def _start(self) -> None:
        """Takes over weights of earlier runs: a joint one's, or those of its two halves."""
        model, config = self.model, self.config
        if config.start_from:
            networks = {"model": model, "discriminators": self.discriminators,
                        "layout_discriminator": self.layout_discriminator}  # fmt: skip
            start_from(config.start_from, networks, lambda finished: finished)
        if config.start_layout:
            networks = {"model": model.layout_generator, "discriminator": self.layout_discriminator}
            start_from(config.start_layout, networks, lambda finished: finished.layout_generator)
        if config.start_image:
            networks = {"model": model.image_model, "discriminators": self.discriminators}
            start_from(config.start_image, networks, lambda finished: finished.image_model)

    def train(self) -> None:
        """Runs to the configured number of steps."""
        self.run.go(self)

    def prepare(self, step: int) -> JointBatch:
        """A step's batch, on the CPU."""
        batch = JointBatch(self.image_batches(step), self.layout_batches(step))
        return pinned(batch) if self.device.startswith("cuda") else batch

    def describe(self, step: int) -> str:
        """The training expressions of a step, by name."""
        return ", ".join(self.dataset.names[int(row)] for row in self.image_batches.rows(step))

    def step(self, step: int, batch: JointBatch) -> dict[str, Tensor]:
        """One optimisation step of both generators, then one of all discriminators."""
        config = self.config
        if step == config.frozen_statistics_step and step > 0:
            self.generating.start_afresh()
        self.model.train(step < config.frozen_statistics_step)
        batch = to_device(batch, self.device)
        target = self.target(batch)
        noise = image_noise(config, self.model_config, self.processes, batch.image, step)

        self._let_discriminators_learn(False)
        losses, drawn = self._generator_losses(batch, target, noise)
        losses["gradient"] = self.generating.update(losses, step)
        self.ema.update(self.model)

        self._let_discriminators_learn(True)
        if self.judging:
            judged = self._discriminator_losses(drawn, target)
            losses.update(judged)
            losses["d_gradient"] = self.judging.update(judged, step)
        judged = {"d_layout": self._layout_discriminator_loss(batch.layout, drawn.fake_boxes)}
        losses.update(judged)
        losses["d_layout_gradient"] = self.judging_layout.update(judged, step)
        return losses

    def _let_discriminators_learn(self, learn: bool) -> None:
        self.discriminators.requires_grad_(learn)
        self.layout_discriminator.requires_grad_(learn)

    def target(self, batch: JointBatch) -> Target:
        """What the images of a batch should be like."""
        images = self.images.take(batch.image.pixels, self.model_config.image.channels)
        mask_size = self.model_config.image.mask_size
        return Target.of(batch.image.graph, images, None, batch.image.symbol_share, self.config.scales, mask_size)

    def generator_losses(self, batch: JointBatch, target: Target, noise: Tensor) -> tuple[dict[str, Tensor], Drawn]:
        """Weighted terms of the generators' loss, and what they made."""
        config, image, layout = self.config, batch.image, batch.layout
        with autocast(self.device, config.precision):
            boxes = self.model.layout_generator(layout.graph, layout.noise)
            fake_boxes = self.model.layout_generator(layout.fakes, layout.fake_noise)
            output = self.model.image_model(
                image.graph,
                noise,
                boxes,
                config.scales,
                glyph_modes=image.glyph_modes,
                glyph_ink=image.glyph_ink,
                masks=True,
            )
            losses = {
                "layout": config.layout_weight * box_loss(boxes, layout),
                "layout_adversarial": config.layout_adversarial_weight
                * fooling_loss(self.layout_discriminator, layout, fake_boxes),
                **generator_losses(config, self.discriminators, output, boxes, target),
            }
        images = {scale: made.detach() for scale, made in output.images.items()}
        return losses, Drawn(images, boxes.detach(), fake_boxes.detach())

    def discriminator_losses(self, drawn: Drawn, target: Target) -> dict[str, Tensor]:
        """Terms of the image discriminators' losses."""
        with autocast(self.device, self.config.precision):
            return discriminator_losses(self.config, self.discriminators, drawn.images, drawn.boxes, target)

    def layout_discriminator_loss(self, batch: LayoutBatch, fake_boxes: Tensor) -> Tensor:
        """The layout discriminator's weighted loss."""
        loss = discriminator_loss(self.layout_discriminator, batch, fake_boxes)
        return self.config.layout_adversarial_weight * loss

    def measure(self) -> Measured:
        """Boxes and images of the averaged weights on the validation set."""
        assert self.validation is not None
        boxes = self.validation.measure_boxes(self.ema.module.layout_generator)
        images = self.validation.measure_images(self.ema.module.image_model)
        return Measured({**boxes.values, **images.values}, images.pictures)
