"""Adversarial losses against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from hmeg.training.losses import adversarial_losses

REAL, FAKE = torch.tensor([[0.3, -2.0], [1.5, 0.0]]), torch.tensor([[-1.0, 0.5]])


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_values() -> None:
    real, fake = REAL.flatten().tolist(), FAKE.flatten().tolist()
    generator, discriminator = adversarial_losses("gan")
    assert generator(FAKE).item() == pytest.approx(_mean([-math.log(_sigmoid(x)) for x in fake]), rel=1e-5)
    assert discriminator(REAL, FAKE).item() == pytest.approx(
        _mean([-math.log(_sigmoid(x)) for x in real]) + _mean([-math.log(1 - _sigmoid(x)) for x in fake]), rel=1e-5
    )
    generator, discriminator = adversarial_losses("lsgan")
    assert generator(FAKE).item() == pytest.approx(_mean([(_sigmoid(x) - 1) ** 2 for x in fake]), rel=1e-5)
    assert discriminator(REAL, FAKE).item() == pytest.approx(
        _mean([(_sigmoid(x) - 1) ** 2 for x in real]) + _mean([_sigmoid(x) ** 2 for x in fake]), rel=1e-5
    )
    generator, discriminator = adversarial_losses("wgan")
    assert generator(FAKE).item() == pytest.approx(0.25)
    assert discriminator(REAL, FAKE).item() == pytest.approx(-0.25 + 0.05)


@pytest.mark.parametrize("name", ["gan", "lsgan", "wgan"])
def test_directions(name: str) -> None:
    """The generator wants higher fake scores; the discriminator higher real and lower fake ones; finite at extremes."""
    generator, discriminator = adversarial_losses(name)
    fake, real = FAKE.clone().requires_grad_(), REAL.clone().requires_grad_()
    (fake_gradient,) = torch.autograd.grad(generator(fake), fake)
    assert (fake_gradient < 0).all()
    real_gradient, fake_gradient = torch.autograd.grad(discriminator(real, fake), (real, fake))
    assert (real_gradient < 0).all()
    assert (fake_gradient > 0).all()
    extreme = torch.tensor([1e4, -1e4])
    assert torch.isfinite(generator(extreme))
    assert torch.isfinite(discriminator(extreme, extreme))


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="'hinge'; there are gan, lsgan, wgan"):
        adversarial_losses("hinge")
