"""Joint training: what images are worth reaches the layout generator."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from hmeg.cli import main
from hmeg.graph import Relation, SymbolGraph
from hmeg.model import HMEG
from hmeg.model.checkpoint import load_weights
from hmeg.model.graph_batch import GraphBatch
from hmeg.training.checkpoints import load_checkpoint
from hmeg.training.image_trainer import ImageTrainer
from hmeg.training.joint_trainer import JointTrainer
from hmeg.training.layout_trainer import LayoutTrainer
from hmeg.training.settings import JointTrainingConfig
from tests.support.tiny_model import TINY
from tests.support.training_data import IMAGE, LAYOUT, assert_same_weights, log, prepared, weights

JOINT = JointTrainingConfig(**asdict(replace(IMAGE, steps=2)))
GRAPH = GraphBatch.from_graphs(
    [
        SymbolGraph(("x", "2", "+"), (Relation(0, 1, "Sup"), Relation(0, 2, "Right"))),
        SymbolGraph(("-", "b", r"\alpha"), (Relation(0, 1, "Above"), Relation(0, 2, "Below"))),
    ]
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("prepared"))


def pixel_loss(model: HMEG) -> Tensor:
    """L1 of the largest image, drawn at generated boxes, to a fixed picture."""
    numbers = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=numbers, dtype=torch.float64)

    boxes = model.layout_generator(GRAPH, normal(len(GRAPH.symbols), TINY.layout.noise_dim))
    noise = normal(GRAPH.num_graphs, TINY.image.noise_dim, TINY.image.size, TINY.image.size)
    image = model.image_model(GRAPH, noise, boxes, (TINY.image.size,)).images[TINY.image.size]
    return (image - normal(*image.shape)).abs().mean()


@pytest.mark.parametrize("training", [True, False])
def test_gradients_from_pixels_to_layout_weights(training: bool) -> None:
    """Against finite differences in float64, along random directions of every weight that has a part in boxes."""
    torch.manual_seed(0)
    # The published network's boxes may lie at 0, where its last ReLU lets nothing through; this start has them inside.
    model = HMEG(TINY.changed(layout={"kaiming_init": True})).double().train(training)
    weights = dict(model.layout_generator.named_parameters())
    model.zero_grad()
    pixel_loss(model).backward()
    step, reached = 1e-6, 0
    for name, weight in weights.items():
        assert weight.grad is not None, name
        direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        exact = float((weight.grad * direction).sum())
        with torch.no_grad():
            weight.add_(direction, alpha=step)
            above = float(pixel_loss(model))
            weight.sub_(direction, alpha=2 * step)
            below = float(pixel_loss(model))
            weight.add_(direction, alpha=step)
        assert (above - below) / (2 * step) == pytest.approx(exact, rel=1e-4, abs=1e-9), name
        reached += abs(exact) > 1e-8
    assert reached > len(weights) / 2, "most weights matter to the picture"


def test_image_losses_move_the_layout_generator(data: Path, tmp_path: Path) -> None:
    """With the layout's own losses switched off it still learns, from images alone."""
    config = replace(JOINT, layout_weight=0.0, layout_adversarial_weight=0.0)
    trainer = JointTrainer(data, tmp_path / "run", config)
    before = {name: value.clone() for name, value in trainer.model.layout_generator.state_dict().items()}
    losses = trainer.step(0, trainer.prepare(0))
    after = trainer.model.layout_generator.state_dict()
    assert losses["pixel"].item() > 0
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_joint_training_resumes_exactly_and_logs_all_losses(data: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = replace(JOINT, validation=str(data), validation_limit=2, validate_every=2)
    JointTrainer(data, tmp_path / "whole", config).train()
    JointTrainer(data, tmp_path / "halves", replace(config, steps=1)).train()
    JointTrainer(data, tmp_path / "halves", config, resume=True).train()
    torch.set_num_threads(threads)
    assert_same_weights(tmp_path / "whole", tmp_path / "halves")
    (last,) = log(tmp_path / "whole")
    assert {"layout", "layout_adversarial", "pixel", "object", "d_layout", "d_patch", "gradient"} <= last.keys()
    assert {"box_iou", "pixel_l1"} <= log(tmp_path / "whole", "validation.jsonl")[-1].keys()

    out = tmp_path / "joint.safetensors"
    packing = ["train", "pack", "--joint", str(tmp_path / "whole"), "--out", str(out), "--paper-as-trained"]
    result = CliRunner().invoke(main, packing)
    assert result.exit_code == 0, result.output
    packed = load_weights(out)
    averaged = weights(tmp_path / "whole")
    for name, value in packed.named_parameters():
        assert torch.equal(value, averaged[f"ema.{name}"].half().float()), name
    assert json.loads(packed.metadata["joint_training"])["trainer"] == "joint"
    assert CliRunner().invoke(main, [*packing, "--temperature", "0.5"]).exit_code == 0
    cooler = load_weights(out)
    assert cooler.metadata["layout_temperature"] == "0.5" and cooler.weights_id != packed.weights_id


def test_it_starts_from_the_two_halves(data: Path, tmp_path: Path) -> None:
    LayoutTrainer(data, tmp_path / "layout", replace(LAYOUT, steps=1)).train()
    ImageTrainer(data, tmp_path / "image", replace(IMAGE, steps=1)).train()
    config = replace(JOINT, start_layout=str(tmp_path / "layout"), start_image=str(tmp_path / "image"))
    trainer = JointTrainer(data, tmp_path / "run", config)
    for part, run in ((trainer.model.layout_generator, "layout"), (trainer.model.image_model, "image")):
        wanted = load_checkpoint(tmp_path / run)["objects"]["model"]
        for name, value in part.state_dict().items():
            assert torch.equal(value, wanted[name]), name
    with pytest.raises(ValueError, match="another configuration"):
        JointTrainer(data, tmp_path / "other", replace(JOINT, start_layout=str(tmp_path / "image")))


def test_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="--window is for image training"):
        replace(JOINT, window=64, adversarial_scales=())
