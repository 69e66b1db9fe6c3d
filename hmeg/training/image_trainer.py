"""Image training: graph and true boxes -> image, against patch and object discriminators at every scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from hmeg.data.crohme import CrohmeDataset
from hmeg.data.glyphs import glyph_modes
from hmeg.model.config import ModelConfig
from hmeg.model.image_model import ImageModel, ImageOutput

from .glyph_ink import TrainingGlyphs
from .image_batch import ImageBatch, ImageBatches, image_noise
from .image_losses import ImageDiscriminators, Target, discriminator_losses, generator_losses
from .images import TrainingImages
from .loop import Measured, Stateful
from .optimisation import Optimised, autocast
from .settings import ImageTrainingConfig
from .starting import start_from
from .trainer import PreparedTrainer, channels_last
from .transfer import to_device
from .validation import ValidationSet


class ImageTrainer(PreparedTrainer):
    """Trains an ImageModel on a prepared data set (published losses: architecture notes of the parity data)."""

    unit = "img"

    config: ImageTrainingConfig
    model: nn.Module

    def open(self, data: Path | str) -> None:
        super().open(data)
        self.model_config = ModelConfig.named(self.config.model)
        check_size(self.dataset, self.model_config)

    def build(self) -> None:
        self.make_networks()
        for network in (self.model, self.discriminators):
            channels_last(network)
            self.processes.prepare(network)
        drawing = not self.resumes and self.start()
        self.glyphs = fill_glyphs(self.painter, self.dataset, self.config, keep=drawing)
        self.images = TrainingImages(self.dataset, self.device, self.config.keep_images)
        self.batches = ImageBatches(
            self.dataset, self.config, self.model_config, self.images, self.processes, self.glyphs
        )

    def make_networks(self) -> None:
        """Networks with random weights, on the device."""
        self.model = ImageModel(self.model_config).to(self.device)
        self.discriminators = ImageDiscriminators(self.model_config.image.channels, self.config).to(self.device)

    @property
    def painter(self) -> ImageModel:
        """What draws in ``self.model``."""
        assert isinstance(self.model, ImageModel)
        return self.model

    def start(self) -> bool:
        """Takes over the weights that the configuration names; returns whether they are weights of what draws."""
        if self.config.start_from:
            networks = {"model": self.model, "discriminators": self.discriminators}
            start_from(self.config.start_from, networks, lambda finished: finished.image_model)
        return bool(self.config.start_from)

    def optimise(self) -> None:
        self.generating = Optimised(self.model, self.config)
        # Adam refuses to have nothing to do.
        self.judging = Optimised(self.discriminators, self.config) if self.config.adversarial_scales else None
        if self.config.compile:
            for convolutions in (self.painter.decoder, *self.discriminators.patch.values()):
                convolutions.compile()
        averaging = self.processes.averaging
        self._generator_losses = averaging(self.model, self.generator_losses, unused=True)
        if self.judging:
            self._discriminator_losses = averaging(self.discriminators, self.discriminator_losses, unused=False)
        self.validation = ValidationSet.configured(self.config, self.model_config, self.device)

    def objects(self) -> dict[str, Stateful]:
        return {
            "model": self.model,
            "discriminators": self.discriminators,
            "ema": self.ema,
            "optimizer": self.generating,
            **({"discriminator_optimizer": self.judging} if self.judging else {}),
        }

    def rows(self, step: int) -> np.ndarray:
        return self.batches.rows(step)

    def batch(self, step: int) -> Any:
        return self.batches(step)

    def step(self, step: int, batch: ImageBatch) -> dict[str, Tensor]:
        """One optimisation step of the generator, then one of the discriminators."""
        self.choose_statistics(step)
        batch = to_device(batch, self.device)
        target = self.target(batch)
        noise = image_noise(self.config, self.model_config, self.processes, batch, step)

        self.discriminators.requires_grad_(False)
        losses, fake = self._generator_losses(batch, target, noise)
        losses["gradient"] = self.generating.update(losses, step)
        self.ema.update(self.model)

        self.discriminators.requires_grad_(True)
        fake = {side: image.detach() for side, image in fake.items()}
        return {**losses, **self.judge_images(step, fake, batch.graph.boxes, target)}

    def choose_statistics(self, step: int) -> None:
        """Batch statistics of each batch at first, the running ones from a configured step on."""
        frozen = self.config.frozen_statistics_step
        if step == frozen and step > 0:
            self.generating.start_afresh()
        self.model.train(step < frozen)

    def target(self, batch: ImageBatch) -> Target:
        """What the images of a batch should be like."""
        images = self.images.take(batch.pixels, self.model_config.image.channels)
        mask_size = self.model_config.image.mask_size
        return Target.of(batch.graph, images, batch.windows, batch.symbol_share, self.config.scales, mask_size)

    def generator_losses(self, batch: Any, target: Target, noise: Tensor) -> tuple[dict[str, Tensor], Any]:
        """Weighted terms of the generator's loss, and what it made: images by side."""
        boxes = batch.graph.boxes
        with autocast(self.device, self.config.precision):
            output = self.paint(batch, noise, boxes)
            return generator_losses(self.config, self.discriminators, output, boxes, target), output.images

    def paint(self, batch: ImageBatch, noise: Tensor, boxes: Tensor) -> ImageOutput:
        """What the image model makes of a batch at ``boxes`` (V, 4)."""
        output: ImageOutput = self.painter(
            batch.graph,
            noise,
            boxes,
            self.config.scales,
            windows=batch.windows,
            glyph_modes=batch.glyph_modes,
            glyph_ink=batch.glyph_ink,
            masks=True,
        )
        return output

    def judge_images(
        self, step: int, images: dict[int, Tensor], boxes: Tensor | None, target: Target
    ) -> dict[str, Tensor]:
        """One optimisation step of the image discriminators, if there are any, on images at boxes; their losses."""
        if self.judging is None:
            return {}
        judged: dict[str, Tensor] = self._discriminator_losses(images, boxes, target)
        return {**judged, "d_gradient": self.judging.update(judged, step)}

    def discriminator_losses(self, images: dict[int, Tensor], boxes: Tensor, target: Target) -> dict[str, Tensor]:
        """Terms of the image discriminators' losses."""
        with autocast(self.device, self.config.precision):
            return discriminator_losses(self.config, self.discriminators, images, boxes, target)

    def measure(self) -> Measured:
        """What the averaged weights draw of the validation set, at true boxes."""
        assert self.validation is not None
        return self.validation.measure_images(self.ema.module)


def check_size(dataset: CrohmeDataset, model: ModelConfig) -> None:
    """ValueError unless the data set's images are as large as the model's."""
    if dataset.size != model.image.size:
        raise ValueError(
            f"{dataset.folder} has images of {dataset.size} pixels, the model {model.name} makes"
            f" {model.image.size}: prepare it with --size {model.image.size}"
        )


def fill_glyphs(
    model: ImageModel, dataset: CrohmeDataset, config: ImageTrainingConfig, keep: bool
) -> TrainingGlyphs | None:
    """Fills a model's glyphs from a data set; returns how every symbol of it is written (None: no glyphs).

    keep  whether the model has glyphs already, of the weights that it starts from: learned ones stay. Where symbols are
          drawn from their own handwriting none are learned, and those of this data set replace them
    """
    if model.glyphs is None:
        return None
    sizes, own = model.config.glyph, config.glyphs == "own"
    found = glyph_modes(dataset, sizes.size, sizes.modes, config.seed, sizes.hooks)
    if own or not keep:
        model.glyphs.fill(found.ink, found.frequency, found.log_sides)
    return TrainingGlyphs(found.assignment, found.examples if own else None)
