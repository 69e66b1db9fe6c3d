"""Image training: graph and true boxes -> image, against patch and object discriminators at every scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmeg import ops
from hmeg.data.crohme import Batch, CrohmeDataset, collate
from hmeg.data.glyphs import glyph_modes
from hmeg.graph import GraphBatch
from hmeg.model.config import ModelConfig
from hmeg.model.discriminators import SMALLEST_IMAGE, ObjectDiscriminator, PatchDiscriminator
from hmeg.model.image_model import ImageModel, ImageOutput
from hmeg.model.windows import Windows

from .loop import (
    CHECKPOINT,
    LoopConfig,
    TrainingRun,
    averaged,
    batch_indices,
    in_one_line,
    load_checkpoint,
    setting,
    step_generator,
)
from .losses import gan_discriminator_loss, gan_generator_loss


@dataclass(frozen=True)
class ImageTrainingConfig(LoopConfig):
    """Settings of image training; the defaults are the published schedule."""

    steps: int = setting(200_000, "Optimisation steps in all.")
    start_from: str = setting("", "Folder of an image run whose weights to start from.")
    window: int = setting(0, "Train on square parts of this many pixels, around random symbols; 0: whole images.")
    windows_per_expression: int = setting(4, "How many such parts of every expression.")
    scales: tuple[int, ...] = setting((64, 128, 256), "Resolutions with a pixel loss.")
    adversarial_scales: tuple[int, ...] = setting((64, 128, 256), "Resolutions with discriminators.")
    discriminator_width: int = setting(64, "Channels of the discriminators' first convolution.")
    pixel_loss: str = setting("l1", "l1 as published, or l2: thin strokes survive where writers differ.")
    pixel_weight: float = setting(1.0, "Factor of the pixel loss, summed over the resolutions.")
    box_weight: float = setting(10.0, "Factor of the squared error of the image model's own boxes.")
    mask_weight: float = setting(1.0, "Factor of the squared error of the soft masks.")
    patch_weight: float = setting(0.01, "Factor of the patch adversarial loss.")
    object_weight: float = setting(0.01, "Factor of the object adversarial loss.")
    class_weight: float = setting(0.1, "Factor of the symbols' cross-entropy on generated crops.")
    frozen_statistics_step: int = setting(
        100_000, "From this step on the generator runs with its running batch statistics and a fresh Adam."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        model = ModelConfig.named(self.model)
        resolutions = set(model.resolutions)
        if not self.scales or not set(self.scales) <= resolutions:
            raise ValueError(f"--scales must be some of the resolutions {model.resolutions}, got {self.scales}")
        if not set(self.adversarial_scales) <= set(self.scales):
            raise ValueError(f"--adversarial-scales must be some of --scales {self.scales}: {self.adversarial_scales}")
        if self.discriminator_width < 1 or self.windows_per_expression < 1:
            raise ValueError("--discriminator-width and --windows-per-expression must be at least 1")
        # The decoder halves a window as often as it halves an image.
        step = 2 ** (len(model.refinement_dims) - 1)
        if self.window % step or not 0 <= self.window <= model.image_size:
            raise ValueError(f"--window must be a multiple of {step}, at most {model.image_size}, got {self.window}")
        for scale in self.adversarial_scales if self.window else ():
            side = self.window * scale // model.image_size
            if side < SMALLEST_IMAGE:
                raise ValueError(
                    f"at --adversarial-scales {scale} critics see {side} pixels of a window, they need {SMALLEST_IMAGE}"
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
        if self.dataset.size != self.model_config.image_size:
            raise ValueError(
                f"{data} has images of {self.dataset.size} pixels, the model {config.model} makes"
                f" {self.model_config.image_size}: prepare it with --size {self.model_config.image_size}"
            )
        torch.manual_seed(config.seed)
        self.model = ImageModel(self.model_config).to(config.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it alone
        self.discriminators = _Discriminators(self.model_config.image_channels, config).to(config.device)
        self.glyph_modes: list[np.ndarray] | None = None
        if self.model.glyphs is not None:
            found = glyph_modes(self.dataset, self.model_config.glyph_size, self.model_config.glyph_modes, config.seed)
            self.model.glyphs.fill(found.ink, found.frequency, found.log_side)
            self.glyph_modes = found.assignment
        going_on = resume and (Path(out) / CHECKPOINT).exists()
        if config.start_from and not going_on:  # a run that is resumed has its own weights by now
            self._start_from(Path(config.start_from))
        self.ema = averaged(self.model, config.ema_decay)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)
        criticised = bool(config.adversarial_scales)  # Adam refuses to have nothing to do
        self.discriminator_optimizer = (
            torch.optim.Adam(self.discriminators.parameters(), lr=config.learning_rate) if criticised else None
        )
        self.run = TrainingRun(
            out,
            config,
            {
                "model": self.model,
                "discriminators": self.discriminators,
                "ema": self.ema,
                "optimizer": self.optimizer,
                **({"discriminator_optimizer": self.discriminator_optimizer} if self.discriminator_optimizer else {}),
            },
            resume,
        )

    def _start_from(self, run: Path) -> None:
        """Takes over a run's weights; discriminators that it did not have start afresh."""
        objects = load_checkpoint(run)["objects"]
        try:
            self.model.load_state_dict(objects["model"])
            self.discriminators.load_state_dict(objects["discriminators"], strict=False)
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"{run} holds weights of another configuration: {in_one_line(error)}") from error

    def train(self) -> None:
        """Runs to the configured number of steps."""
        self.run.go(self.step, self.config)

    def batch(self, step: int) -> Batch:
        """The training batch of a step, on the device."""
        rows = batch_indices(len(self.dataset), self.config.batch_size, step, self.config.seed)
        batch = collate([self.dataset[int(row)] for row in rows], self.model_config.image_channels)
        device = self.config.device
        images = batch.images.to(device, memory_format=torch.channels_last)
        modes = None
        if self.glyph_modes is not None:
            modes = torch.from_numpy(np.concatenate([self.glyph_modes[int(row)] for row in rows])).to(device)
        return Batch(batch.graph.to(device), images, modes)

    def step(self, step: int) -> dict[str, Tensor]:
        """One optimisation step of the generator, then one of the discriminators."""
        config = self.config
        if step == config.frozen_statistics_step and step > 0:
            self.optimizer.state.clear()
        self.model.train(step < config.frozen_statistics_step)
        for optimizer in filter(None, (self.optimizer, self.discriminator_optimizer)):
            for group in optimizer.param_groups:
                group["lr"] = config.rate(step)
        batch = self.batch(step)
        side = self.model_config.image_size
        generator = step_generator(config.seed, step, config.device)
        windows = self.windows(batch.graph, generator) if config.window else None
        painted, painted_side = (batch.graph.num_graphs, side) if windows is None else (len(windows.top), config.window)
        noise = torch.randn(
            (painted, self.model_config.layout_noise_dim, painted_side, painted_side),
            generator=generator,
            device=config.device,
        )
        real = {s: batch.images if s == side else F.avg_pool2d(batch.images, side // s) for s in config.scales}
        if windows is not None:
            real = {s: windows.cut(image, s // self.model_config.mask_size) for s, image in real.items()}

        self.discriminators.requires_grad_(False)
        with config.autocast():
            output = self.model(
                batch.graph,
                noise,
                batch.graph.boxes,
                config.scales,
                windows=windows,
                glyph_modes=batch.glyph_modes,
            )
            losses = self.generator_losses(output, batch, real)
        total = sum(losses.values())
        assert isinstance(total, Tensor)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self.ema.update_parameters(self.model)

        self.discriminators.requires_grad_(True)
        discriminator_losses: dict[str, Tensor] = {}
        if self.discriminator_optimizer:
            with config.autocast():
                discriminator_losses = self.discriminator_losses(output.images, batch, real)
            discriminator_total = sum(discriminator_losses.values())
            assert isinstance(discriminator_total, Tensor)
            self.discriminator_optimizer.zero_grad(set_to_none=True)
            discriminator_total.backward()
            self.discriminator_optimizer.step()
        return {name: value.detach() for name, value in {**losses, **discriminator_losses}.items()}

    def windows(self, graph: GraphBatch, generator: torch.Generator) -> Windows:
        """Random parts of every expression, each around one of its symbols."""
        config, size = self.config, self.model_config.mask_size
        device = graph.symbols.device
        side = config.window * size // self.model_config.image_size
        expression = torch.arange(graph.num_graphs, device=device).repeat_interleave(config.windows_per_expression)
        draws = torch.rand(3, len(expression), generator=generator, device=device)
        count = torch.bincount(graph.batch, minlength=graph.num_graphs)
        first = torch.cumsum(count, 0) - count
        symbol = first[expression] + (draws[0] * count[expression]).long().clamp(max=count[expression] - 1)
        assert graph.boxes is not None
        low, high = graph.boxes[symbol, :2], graph.boxes[symbol, 2:]
        middle = low + (high - low) * draws[1:].T  # a random point of the symbol's box
        corner = (middle * size - side / 2).round().long().clamp(0, size - side)
        return Windows(expression, corner[:, 1], corner[:, 0], side)

    def generator_losses(
        self, output: ImageOutput, batch: Batch, real: Mapping[int, Tensor]
    ) -> dict[str, Tensor]:
        """Weighted terms of the generator's loss."""
        config, boxes = self.config, batch.graph.boxes
        assert boxes is not None
        target_masks = ops.box_soft_mask(boxes, (output.masks.shape[-2], output.masks.shape[-1]))
        distance = {"l1": F.l1_loss, "l2": F.mse_loss}[config.pixel_loss]
        losses = {
            "pixel": config.pixel_weight * _sum(distance(output.images[s].float(), real[s]) for s in config.scales),
            "box": config.box_weight * F.mse_loss(output.predicted_boxes.float(), boxes),
            "mask": config.mask_weight * F.mse_loss(output.masks.float(), target_masks),
        }
        for scale in config.adversarial_scales:
            image = output.images[scale]
            patch = self.discriminators.patch[str(scale)](image)
            terms = {"patch": config.patch_weight * gan_generator_loss(patch.float())}
            if not config.window:
                scores, classes = self._judge_objects(scale, image, batch)
                terms["object"] = config.object_weight * gan_generator_loss(scores.float())
                terms["class"] = config.class_weight * F.cross_entropy(classes.float(), batch.graph.symbols)
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
            terms = {"d_patch": gan_discriminator_loss(patch(real[scale]).float(), patch(image).float())}
            if not self.config.window:
                fake_scores, fake_classes = self._judge_objects(scale, image, batch)
                real_scores, real_classes = self._judge_objects(scale, real[scale], batch)
                terms["d_object"] = gan_discriminator_loss(real_scores.float(), fake_scores.float())
                terms["d_class_real"] = F.cross_entropy(real_classes.float(), batch.graph.symbols)
                terms["d_class_fake"] = F.cross_entropy(fake_classes.float(), batch.graph.symbols)
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
