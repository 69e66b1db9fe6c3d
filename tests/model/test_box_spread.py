"""The energy score of layouts: smallest where draws are distributed as the truth is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hmeg.graph.latex import parse_latex
from hmeg.model.box_spread import LOG_SCALE, SMALLEST_SIDE, energy_score, local_shape
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.layout import inside_image
from hmeg.training.layout_trainer import LayoutTrainer
from tests.support.training_data import LAYOUT, log, prepared

CONFIG = replace(LAYOUT, spread_weight=10.0, box_weight=2.0, clip=1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("prepared"))


def test_the_score_is_least_for_the_true_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    true, one, other = torch.randn(3, 200_000, 2, generator=generator, dtype=torch.float64)
    scores = {spread: energy_score(spread * one, spread * other, true).mean() for spread in (0.0, 0.5, 1.0, 1.5)}
    assert min(scores, key=lambda spread: float(scores[spread])) == 1.0
    # Known values: E|x - y| of two standard normal pairs is sqrt(pi), E|x| is sqrt(pi / 2).
    assert float(scores[1.0]) == pytest.approx(torch.pi**0.5 / 2, abs=0.01)
    assert float(scores[0.0]) == pytest.approx((torch.pi / 2) ** 0.5, abs=0.01)


def test_shape_does_not_depend_on_where_the_expression_stands() -> None:
    graph = GraphBatch.from_graphs([parse_latex("x^2+1"), parse_latex("a")])
    boxes = torch.rand(5, 4, dtype=torch.float64).sort(dim=1).values[:, [0, 1, 2, 3]]
    shape = local_shape(graph, boxes)
    assert shape.shape == (2 * 5 + 5 * 3, 2), "three relations: 2 up right of x, + right of x, 1 right of +"
    assert torch.allclose(shape, local_shape(graph, boxes + 0.25))
    assert torch.equal(shape[:5], boxes[:, 2:] - boxes[:, :2])
    squeezed = boxes.clone()
    squeezed[0, 2] = squeezed[0, 0]
    assert float(local_shape(graph, squeezed)[5, 0]) == pytest.approx(LOG_SCALE * torch.tensor(SMALLEST_SIDE).log())


def test_gradients_are_right_and_finite_where_draws_agree() -> None:
    graph = GraphBatch.from_graphs([parse_latex("x^2")])
    one, other, true = torch.rand(3, 2, 4, dtype=torch.float64)
    for boxes in (one, other, true):
        boxes[:, 2:] += boxes[:, :2]

    def score(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return energy_score(local_shape(graph, a), local_shape(graph, b), local_shape(graph, true)).sum()

    assert torch.autograd.gradcheck(score, (one.requires_grad_(), other.requires_grad_()))
    (gradient,) = torch.autograd.grad(score(one, one), one)
    assert torch.isfinite(gradient).all()


@pytest.mark.slow
def test_training_without_a_discriminator(data: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=30, batch_size=6, adversarial_weight=0.0, learning_rate=5e-4)
    trainer = LayoutTrainer(data, tmp_path / "run", config)
    before = [weight.clone() for weight in trainer.discriminator.parameters()]
    trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.discriminator.parameters(), strict=True))
    written = log(tmp_path / "run")
    assert set(written[-1]) == {"step", "seconds", "box", "spread", "gradient"}
    batch = trainer.prepare(0)
    assert batch.other_noise is not None and not torch.equal(batch.other_noise, batch.noise)
    with torch.no_grad():
        one, other = (trainer.model(batch.graph, noise) for noise in (batch.noise, batch.other_noise))
    apart = float((one - other).abs().mean())
    plain = LayoutTrainer(data, tmp_path / "plain", replace(config, spread_weight=0.0))
    plain.train()
    with torch.no_grad():
        one, other = (plain.model(batch.graph, noise) for noise in (batch.noise, batch.other_noise))
    assert apart > 1.5 * float((one - other).abs().mean()), "the loss makes draws differ"


def test_boxes_stay_in_the_image() -> None:
    boxes = torch.tensor([[-0.1, 0.2, 0.1, 0.3], [0.95, 0.9, 1.05, 1.2], [0.4, 0.4, 0.5, 0.5], [-1.0, 0.5, 1.5, 0.6]])
    moved = inside_image(boxes)
    assert torch.allclose(moved[:, 2:] - moved[:, :2], boxes[:, 2:] - boxes[:, :2]), "sizes stay"
    assert torch.equal(moved[2], boxes[2])
    assert (moved[:2] >= 0.01).all() and (moved[:2] <= 0.99).all()
