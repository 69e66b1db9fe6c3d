"""The losses of image training, for the image trainer and the joint one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmeg import ops
from hmeg.model.discriminators import ObjectDiscriminator, PatchDiscriminator
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.image_model import ImageOutput
from hmeg.model.windows import Windows

from .losses import gan_discriminator_loss, gan_generator_loss
from .settings import ImageTrainingConfig


class ImageDiscriminators(nn.Module):
    """One patch and one object discriminator per scale."""

    def __init__(self, channels: int, config: ImageTrainingConfig) -> None:
        super().__init__()
        width = config.discriminator_width
        self.patch = nn.ModuleDict({str(s): PatchDiscriminator(channels, width) for s in config.adversarial_scales})
        self.object = nn.ModuleDict({str(s): ObjectDiscriminator(channels, width) for s in config.adversarial_scales})

    def judge_symbols(self, scale: int, images: Tensor, boxes: Tensor, graph: GraphBatch) -> tuple[Tensor, Tensor]:
        """Scores (V, 1) and class logits (V, 102), float32, of the symbols cut out at ``boxes``."""
        scores, classes = self.object[str(scale)](images.float(), boxes, graph.symbols, graph.batch)
        return scores.float(), classes.float()


@dataclass
class Target:
    """What generated images should be like.

    graph         with the true boxes
    images        resolution -> (N, channels, r, r), or the windows of them
    symbol_share  weight of means over symbols, see :class:`hmeg.training.image_batch.ImageBatch`
    """

    graph: GraphBatch
    images: Mapping[int, Tensor]
    symbol_share: float

    @classmethod
    def of(
        cls, graph: GraphBatch, images: Tensor, windows: Windows | None, share: float, scales: tuple[int, ...],
        mask_size: int,
    ) -> Target:  # fmt: skip
        """From whole images (N, channels, S, S): averaged down to ``scales``, cut to the windows."""
        side = images.shape[2]
        real = {s: images if s == side else F.avg_pool2d(images, side // s) for s in scales}
        if windows is not None:
            real = {s: windows.cut(image, s // mask_size) for s, image in real.items()}
        return cls(graph, real, share)


def generator_losses(
    config: ImageTrainingConfig,
    discriminators: ImageDiscriminators,
    output: ImageOutput,
    boxes: Tensor,
    target: Target,
) -> dict[str, Tensor]:
    """Weighted terms of the generator's loss.

    boxes  (V, 4) that the images were drawn at: crops are cut there, masks compared with theirs
    """
    graph, share = target.graph, target.symbol_share
    assert graph.boxes is not None
    assert output.masks is not None, "a loss is on the masks: the trainers ask for them"
    wanted_masks = ops.box_soft_mask(boxes.float(), (output.masks.shape[-2], output.masks.shape[-1]))
    distance = {"l1": F.l1_loss, "l2": F.mse_loss}[config.pixel_loss]
    pixel = torch.stack([distance(output.images[s].float(), target.images[s]) for s in config.scales]).sum()
    losses = {
        "pixel": config.pixel_weight * pixel,
        "box": share * config.box_weight * F.mse_loss(output.predicted_boxes.float(), graph.boxes),
        "mask": share * config.mask_weight * F.mse_loss(output.masks.float(), wanted_masks),
    }
    for scale in config.adversarial_scales:
        image = output.images[scale]
        patch = discriminators.patch[str(scale)](image)
        terms = {"patch": config.patch_weight * gan_generator_loss(patch.float())}
        if not config.window:
            scores, classes = discriminators.judge_symbols(scale, image, boxes.float(), graph)
            terms["object"] = share * config.object_weight * gan_generator_loss(scores)
            terms["class"] = share * config.class_weight * F.cross_entropy(classes, graph.symbols)
        _add(losses, terms)
    return losses


def discriminator_losses(
    config: ImageTrainingConfig,
    discriminators: ImageDiscriminators,
    fake: Mapping[int, Tensor],
    fake_boxes: Tensor,
    target: Target,
) -> dict[str, Tensor]:
    """Terms of the discriminators' losses: adversarial ones, and classification of real and fake crops."""
    losses: dict[str, Tensor] = {}
    graph, share = target.graph, target.symbol_share
    assert graph.boxes is not None
    for scale in config.adversarial_scales:
        image, real = fake[scale], target.images[scale]
        patch = discriminators.patch[str(scale)]
        terms = {"d_patch": gan_discriminator_loss(patch(real).float(), patch(image).float())}
        if not config.window:
            fake_scores, fake_classes = discriminators.judge_symbols(scale, image, fake_boxes.float(), graph)
            real_scores, real_classes = discriminators.judge_symbols(scale, real, graph.boxes, graph)
            terms["d_object"] = share * gan_discriminator_loss(real_scores, fake_scores)
            terms["d_class_real"] = share * F.cross_entropy(real_classes, graph.symbols)
            terms["d_class_fake"] = share * F.cross_entropy(fake_classes, graph.symbols)
        _add(losses, terms)
    return losses


def _add(losses: dict[str, Tensor], terms: Mapping[str, Tensor]) -> None:
    losses.update({name: losses[name] + term if name in losses else term for name, term in terms.items()})
