"""Image training: graph and true boxes -> image, against patch and object discriminators at every scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmeg import ops
from hmeg.data.crohme import Batch, CrohmeDataset, collate
from hmeg.model.config import ModelConfig
from hmeg.model.discriminators import ObjectDiscriminator, PatchDiscriminator
from hmeg.model.image_model import ImageModel, ImageOutput

from .loop import LoopConfig, TrainingRun, averaged, batch_indices, setting, step_generator
from .losses import gan_discriminator_loss, gan_generator_loss


@dataclass(frozen=True)
class ImageTrainingConfig(LoopConfig):
    """Settings of image training; the defaults are the published schedule."""

    steps: int = setting(200_000, "Optimisation steps in all.")
    scales: tuple[int, ...] = setting((64, 128, 256), "Resolutions with a pixel loss.")
    adversarial_scales: tuple[int, ...] = setting((64, 128, 256), "Resolutions with discriminators.")
    discriminator_width: int = setting(64, "Channels of the discriminators' first convolution.")
    pixel_weight: float = setting(1.0, "Factor of the L1 loss between images, summed over the resolutions.")
    box_weight: float = setting(10.0, "Factor of the squared error of the image model's own boxes.")
    mask_weight: float = setting(1.0, "Factor of the squared error of the soft masks.")
    patch_weight: float = setting(0.01, "Factor of the patch adversarial loss.")
    object_weight: float = setting(0.01, "Factor of the object adversarial loss.")
    class_weight: float = setting(0.1, "Factor of the symbols' cross-entropy on generated crops.")
    frozen_statistics_step: int = setting(
        100_000, "From this step on the generator runs with its running batch statistics and a fresh Adam."
    )


class _Discriminators(nn.Module):
    """One patch and one object discriminator per scale."""

    def __init__(self, channels: int, config: ImageTrainingConfig) -> None:
        super().__init__()
        width = config.discriminator_width
        self.patch = nn.ModuleDict({str(s): PatchDiscriminator(channels, width) for s in config.adversarial_scales})
        self.object = nn.ModuleDict({str(s): ObjectDiscriminator(channels, width) for s in config.adversarial_scales})


class ImageTrainer:
    """Trains an ImageModel on a prepared data set (published losses: architecture notes of the parity data)."""

    def __init__(
        self, data: Path | str, out: Path | str, config: ImageTrainingConfig, resume: bool = False
    ) -> None:
        self.config = config
        self.dataset = CrohmeDataset(data, config.max_symbols)
        self.model_config = ModelConfig.named(config.model)
        torch.manual_seed(config.seed)
        self.model = ImageModel(self.model_config).to(config.device, memory_format=torch.channels_last)
        self.discriminators = _Discriminators(self.model_config.image_channels, config).to(config.device)
        self.ema = averaged(self.model, config.ema_decay)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminators.parameters(), lr=config.learning_rate)
        self.run = TrainingRun(
            out,
            config,
            {
                "model": self.model,
                "discriminators": self.discriminators,
                "ema": self.ema,
                "optimizer": self.optimizer,
                "discriminator_optimizer": self.discriminator_optimizer,
            },
            resume,
        )

    def train(self) -> None:
        """Runs to the configured number of steps."""
        self.run.go(self.step, self.config)

    def batch(self, step: int) -> Batch:
        """The training batch of a step, on the device."""
        rows = batch_indices(len(self.dataset), self.config.batch_size, step, self.config.seed)
        batch = collate([self.dataset[int(row)] for row in rows], self.model_config.image_channels)
        device = self.config.device
        images = batch.images.to(device, memory_format=torch.channels_last)
        return Batch(batch.graph.to(device), images)

    def step(self, step: int) -> dict[str, Tensor]:
        """One optimisation step of the generator, then one of the discriminators."""
        config = self.config
        if step == config.frozen_statistics_step and step > 0:
            self.optimizer.state.clear()
        self.model.train(step < config.frozen_statistics_step)
        for optimizer in (self.optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = config.rate(step)
        batch = self.batch(step)
        side = self.model_config.image_size
        noise = torch.randn(
            (batch.graph.num_graphs, self.model_config.layout_noise_dim, side, side),
            generator=step_generator(config.seed, step, config.device),
            device=config.device,
        )
        real = {s: batch.images if s == side else F.avg_pool2d(batch.images, side // s) for s in config.scales}

        self.discriminators.requires_grad_(False)
        with config.autocast():
            output = self.model(batch.graph, noise, batch.graph.boxes, resolutions=config.scales)
            losses = self.generator_losses(output, batch, real)
        total = sum(losses.values())
        assert isinstance(total, Tensor)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self.ema.update_parameters(self.model)

        self.discriminators.requires_grad_(True)
        with config.autocast():
            discriminator_losses = self.discriminator_losses(output.images, batch, real)
        if discriminator_losses:
            discriminator_total = sum(discriminator_losses.values())
            assert isinstance(discriminator_total, Tensor)
            self.discriminator_optimizer.zero_grad(set_to_none=True)
            discriminator_total.backward()
            self.discriminator_optimizer.step()
        return {name: value.detach() for name, value in {**losses, **discriminator_losses}.items()}

    def generator_losses(
        self, output: ImageOutput, batch: Batch, real: Mapping[int, Tensor]
    ) -> dict[str, Tensor]:
        """Weighted terms of the generator's loss."""
        config, boxes = self.config, batch.graph.boxes
        assert boxes is not None
        target_masks = ops.box_soft_mask(boxes, output.masks.shape[-2:])
        losses = {
            "pixel": config.pixel_weight * _sum(F.l1_loss(output.images[s].float(), real[s]) for s in config.scales),
            "box": config.box_weight * F.mse_loss(output.predicted_boxes.float(), boxes),
            "mask": config.mask_weight * F.mse_loss(output.masks.float(), target_masks),
        }
        for scale in config.adversarial_scales:
            image = output.images[scale]
            patch = self.discriminators.patch[str(scale)](image)
            scores, classes = self._judge_objects(scale, image, batch)
            terms = {
                "patch": config.patch_weight * gan_generator_loss(patch.float()),
                "object": config.object_weight * gan_generator_loss(scores.float()),
                "class": config.class_weight * F.cross_entropy(classes.float(), batch.graph.symbols),
            }
            losses.update({name: losses[name] + term if name in losses else term for name, term in terms.items()})
        return losses

    def discriminator_losses(
        self, fake: Mapping[int, Tensor], batch: Batch, real: Mapping[int, Tensor]
    ) -> dict[str, Tensor]:
        """Terms of the discriminators' losses: adversarial ones, and classification of real and fake crops."""
        losses: dict[str, Tensor] = {}
        for scale in self.config.adversarial_scales:
            image = fake[scale].detach()
            patch = self.discriminators.patch[str(scale)]
            fake_scores, fake_classes = self._judge_objects(scale, image, batch)
            real_scores, real_classes = self._judge_objects(scale, real[scale], batch)
            terms = {
                "d_patch": gan_discriminator_loss(patch(real[scale]).float(), patch(image).float()),
                "d_object": gan_discriminator_loss(real_scores.float(), fake_scores.float()),
                "d_class_real": F.cross_entropy(real_classes.float(), batch.graph.symbols),
                "d_class_fake": F.cross_entropy(fake_classes.float(), batch.graph.symbols),
            }
            losses.update({name: losses[name] + term if name in losses else term for name, term in terms.items()})
        return losses

    def _judge_objects(self, scale: int, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        judged: tuple[Tensor, Tensor] = self.discriminators.object[str(scale)](
            images.float(), batch.graph.boxes, batch.graph.symbols, batch.graph.batch
        )
        return judged


def _sum(terms: object) -> Tensor:
    total = sum(terms)  # type: ignore[call-overload]
    assert isinstance(total, Tensor)
    return total
