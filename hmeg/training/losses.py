"""Adversarial losses in the three published forms. Scores are raw network outputs of any shape; means over elements."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

GeneratorLoss = Callable[[Tensor], Tensor]
DiscriminatorLoss = Callable[[Tensor, Tensor], Tensor]


def _towards(scores: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, target))


def _squared_towards(scores: Tensor, target: float) -> Tensor:
    return (torch.sigmoid(scores) - target).square().mean()


def gan_generator_loss(fake: Tensor) -> Tensor:
    """Binary cross-entropy of logits ``fake`` towards 1."""
    return _towards(fake, 1)


def gan_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross-entropy of ``real`` towards 1 plus that of ``fake`` towards 0 (a sum, not halved)."""
    return _towards(real, 1) + _towards(fake, 0)


def lsgan_generator_loss(fake: Tensor) -> Tensor:
    """Squared error of sigmoid(``fake``) towards 1."""
    return _squared_towards(fake, 1)


def lsgan_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Squared error of sigmoid(``real``) towards 1 plus that of sigmoid(``fake``) towards 0."""
    return _squared_towards(real, 1) + _squared_towards(fake, 0)


def wgan_generator_loss(fake: Tensor) -> Tensor:
    """-mean(``fake``)."""
    return -fake.mean()


def wgan_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """mean(``fake``) - mean(``real``)."""
    return fake.mean() - real.mean()


_LOSSES: dict[str, tuple[GeneratorLoss, DiscriminatorLoss]] = {
    "gan": (gan_generator_loss, gan_discriminator_loss),
    "lsgan": (lsgan_generator_loss, lsgan_discriminator_loss),
    "wgan": (wgan_generator_loss, wgan_discriminator_loss),
}


def adversarial_losses(name: str) -> tuple[GeneratorLoss, DiscriminatorLoss]:
    """(generator loss of fake scores, discriminator loss of real and fake scores) for ``gan``, ``lsgan``, ``wgan``."""
    if name not in _LOSSES:
        raise ValueError(f"no adversarial loss {name!r}; there are {', '.join(_LOSSES)}")
    return _LOSSES[name]
