"""Joint training: graph -> boxes -> masks -> image in one differentiable piece."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hmeg.model.discriminators import LayoutDiscriminator
from hmeg.model.hmeg import HMEG
from hmeg.model.image_model import ImageModel

from .image_batch import ImageBatch, image_noise
from .image_losses import ImageDiscriminators, Target, generator_losses
from .image_trainer import ImageTrainer
from .layout_batch import LayoutBatch, LayoutBatches
from .layout_losses import box_loss, discriminator_loss, fooling_loss
from .loop import Measured, Stateful
from .noted_model import NotedModel
from .optimisation import Optimised, autocast
from .settings import JointTrainingConfig
from .starting import start_from
from .transfer import to_device


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


class JointTrainer(ImageTrainer):
    """Trains all of HMEG on a prepared data set.

    The published trainers are two, and the image model sees true boxes only. Here images are drawn at the generated
    boxes: the gradients of their losses reach the layout generator, through the soft masks, the crops of the object
    discriminators and whatever else of the layout depends on boxes. All other losses are those of the two trainers.
    """

    config: JointTrainingConfig
    model: HMEG

    def make_networks(self) -> None:
        self.model = HMEG(self.model_config).to(self.device)
        self.discriminators = ImageDiscriminators(self.model_config.image.channels, self.config).to(self.device)
        self.layout_discriminator = LayoutDiscriminator().to(self.device)
        self.processes.prepare(self.layout_discriminator)

    def build(self) -> None:
        super().build()
        self.layout_batches = LayoutBatches(self.dataset, self.config, self.model_config, self.processes)

    @property
    def painter(self) -> ImageModel:
        return self.model.image_model

    def start(self) -> bool:
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
        return bool(config.start_from or config.start_image)

    def optimise(self) -> None:
        super().optimise()
        self.judging_layout = Optimised(self.layout_discriminator, self.config, self.config.discriminator_weight_decay)
        self._layout_discriminator_loss = self.processes.averaging(
            self.layout_discriminator, self.layout_discriminator_loss, unused=False
        )

    def objects(self) -> dict[str, Stateful]:
        return {
            **super().objects(),
            "layout_discriminator": self.layout_discriminator,
            "layout_discriminator_optimizer": self.judging_layout,
        }

    def digests(self) -> dict[str, str]:
        return {**super().digests(), "unpaired expressions": self.layout_batches.unpaired_digest}

    def note(self) -> NotedModel:
        return NotedModel(self.model_config)

    def batch(self, step: int) -> JointBatch:
        return JointBatch(self.batches(step), self.layout_batches(step))

    def step(self, step: int, batch: JointBatch) -> dict[str, Tensor]:  # type: ignore[override]  # its own batches
        """One optimisation step of both generators, then one of all discriminators."""
        self.choose_statistics(step)
        batch = to_device(batch, self.device)
        target = self.target(batch.image)
        noise = image_noise(self.config, self.model_config, self.processes, batch.image, step)

        self._let_discriminators_learn(False)
        losses, drawn = self._generator_losses(batch, target, noise)
        losses["gradient"] = self.generating.update(losses, step)
        self.ema.update(self.model)

        self._let_discriminators_learn(True)
        losses.update(self.judge_images(step, drawn.images, drawn.boxes, target))
        judged = {"d_layout": self._layout_discriminator_loss(batch.layout, drawn.fake_boxes)}
        losses.update(judged)
        losses["d_layout_gradient"] = self.judging_layout.update(judged, step)
        return losses

    def _let_discriminators_learn(self, learn: bool) -> None:
        self.discriminators.requires_grad_(learn)
        self.layout_discriminator.requires_grad_(learn)

    def generator_losses(self, batch: JointBatch, target: Target, noise: Tensor) -> tuple[dict[str, Tensor], Drawn]:
        """Weighted terms of the generators' loss, and what they made."""
        config, layout = self.config, batch.layout
        with autocast(self.device, config.precision):
            boxes = self.model.layout_generator(layout.graph, layout.noise)
            fake_boxes = self.model.layout_generator(layout.fakes, layout.fake_noise)
            output = self.paint(batch.image, noise, boxes)
            losses = {
                "layout": config.layout_weight * box_loss(boxes, layout),
                "layout_adversarial": config.layout_adversarial_weight
                * fooling_loss(self.layout_discriminator, layout, fake_boxes),
                **generator_losses(config, self.discriminators, output, boxes, target),
            }
        images = {scale: made.detach() for scale, made in output.images.items()}
        return losses, Drawn(images, boxes.detach(), fake_boxes.detach())

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
