"""Image training: graph and true boxes -> image, against patch and object discriminators at every scale."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset
from hmeg.data.glyphs import glyph_modes
from hmeg.model.config import ModelConfig
from hmeg.model.image_model import ImageModel

from .averages import AveragedWeights
from .checkpoints import checkpoints
from .expressions import dataset_digest
from .glyph_ink import TrainingGlyphs
from .image_batch import ImageBatch, ImageBatches, image_noise
from .image_losses import ImageDiscriminators, Target, discriminator_losses, generator_losses
from .images import TrainingImages
from .loop import Measured, TrainingRun
from .optimisation import Optimised, autocast
from .processes import Processes
from .settings import ImageTrainingConfig
from .starting import start_from
from .transfer import pinned, to_device
from .validation import ValidationSet


class ImageTrainer:
    """Trains an ImageModel on a prepared data set (published losses: architecture notes of the parity data)."""

    unit = "img"

    def __init__(self, data: Path | str, out: Path | str, config: ImageTrainingConfig, resume: bool = False) -> None:
        self.config = config
        self.processes = Processes.join(config.device)
        self.device = self.processes.device
        self.dataset = CrohmeDataset(data, config.max_symbols)
        self.model_config = ModelConfig.named(config.model)
        check_size(self.dataset, self.model_config)
        torch.manual_seed(config.seed)
        self.model = ImageModel(self.model_config).to(self.device)
        self.discriminators = ImageDiscriminators(self.model_config.image.channels, config).to(self.device)
        for network in (self.model, self.discriminators):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it alone
            self.processes.prepare(network)
        starting = bool(config.start_from) and not (resume and checkpoints(Path(out)))  # a resumed run has its own
        if starting:
            networks = {"model": self.model, "discriminators": self.discriminators}
            start_from(config.start_from, networks, lambda finished: finished.image_model)
        glyphs = fill_glyphs(self.model, self.dataset, config, keep=starting)
        self.images = TrainingImages(self.dataset, self.device, config.keep_images)
        self.batches = ImageBatches(self.dataset, config, self.model_config, self.images, self.processes, glyphs)
        self.ema = AveragedWeights(self.model, config.ema_decay)
        self.generating = Optimised(self.model, config)
        # Adam refuses to have nothing to do.
        self.judging = Optimised(self.discriminators, config) if config.adversarial_scales else None
        if config.compile:
            for convolutions in (self.model.decoder, *self.discriminators.patch.values()):
                convolutions.compile()
        self._generator_losses = self.processes.averaging(self.model, self.generator_losses, unused=True)
        if self.judging:
            self._discriminator_losses = self.processes.averaging(
                self.discriminators, self.discriminator_losses, unused=False
            )
        self.validation = ValidationSet.configured(config, self.model_config, self.device)
        self.run = TrainingRun(
            out,
            config,
            {
                "model": self.model,
                "discriminators": self.discriminators,
                "ema": self.ema,
                "optimizer": self.generating,
                **({"discriminator_optimizer": self.judging} if self.judging else {}),
            },
            {"data set": dataset_digest(self.dataset)},
            self.processes,
            resume,
        )

    def train(self) -> None:
        """Runs to the configured number of steps."""
        self.run.go(self)

    def prepare(self, step: int) -> ImageBatch:
        """A step's batch, on the CPU."""
        batch = self.batches(step)
        return pinned(batch) if self.device.startswith("cuda") else batch

    def describe(self, step: int) -> str:
        """The training expressions of a step, by name."""
        return ", ".join(self.dataset.names[int(row)] for row in self.batches.rows(step))

    def step(self, step: int, batch: ImageBatch) -> dict[str, Tensor]:
        """One optimisation step of the generator, then one of the discriminators."""
        config = self.config
        if step == config.frozen_statistics_step and step > 0:
            self.generating.start_afresh()
        self.model.train(step < config.frozen_statistics_step)
        batch = to_device(batch, self.device)
        target = self.target(batch)
        noise = image_noise(config, self.model_config, self.processes, batch, step)

        self.discriminators.requires_grad_(False)
        losses, fake = self._generator_losses(batch, target, noise)
        losses["gradient"] = self.generating.update(losses, step)
        self.ema.update(self.model)

        self.discriminators.requires_grad_(True)
        if self.judging:
            judged = self._discriminator_losses({s: image.detach() for s, image in fake.items()}, target)
            losses.update(judged)
            losses["d_gradient"] = self.judging.update(judged, step)
        return losses

    def target(self, batch: ImageBatch) -> Target:
        """What the images of a batch should be like."""
        images = self.images.take(batch.pixels, self.model_config.image.channels)
        mask_size = self.model_config.image.mask_size
        return Target.of(batch.graph, images, batch.windows, batch.symbol_share, self.config.scales, mask_size)

    def generator_losses(
        self, batch: ImageBatch, target: Target, noise: Tensor
    ) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
        """Weighted terms of the generator's loss, and its images."""
        config, boxes = self.config, batch.graph.boxes
        assert boxes is not None
        with autocast(self.device, self.config.precision):
            output = self.model(
                batch.graph,
                noise,
                boxes,
                config.scales,
                windows=batch.windows,
                glyph_modes=batch.glyph_modes,
                glyph_ink=batch.glyph_ink,
                masks=True,
            )
            return generator_losses(config, self.discriminators, output, boxes, target), output.images

    def discriminator_losses(self, fake: dict[int, Tensor], target: Target) -> dict[str, Tensor]:
        """Terms of the discriminators' losses."""
        boxes = target.graph.boxes
        assert boxes is not None
        with autocast(self.device, self.config.precision):
            return discriminator_losses(self.config, self.discriminators, fake, boxes, target)

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
