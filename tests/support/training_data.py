"""What tests of training share: a small prepared data set, settings that take no time, looking into a run."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from hmeg.data.crohme import RenderSettings, prepare
from hmeg.training.checkpoints import load_checkpoint
from hmeg.training.settings import ImageTrainingConfig, LayoutTrainingConfig
from tests.support.ink_samples import write_samples

LAYOUT = LayoutTrainingConfig(
    model="small", steps=6, batch_size=3, learning_rate=1e-3, checkpoint_every=3, device="cpu"
)
IMAGE = ImageTrainingConfig(
    model="small",
    device="cpu",
    steps=2,
    batch_size=2,
    scales=(64,),
    adversarial_scales=(64,),
    discriminator_width=4,
    checkpoint_every=1,
)


def prepared(folder: Path, copies: int = 3) -> Path:
    """A data set of ``2 * copies`` expressions."""
    prepare(write_samples(folder / "source", copies=copies), folder / "data", RenderSettings(), workers=1)
    return folder / "data"


def log(run: Path, name: str = "losses.jsonl") -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def weights(run: Path) -> dict[str, torch.Tensor]:
    objects = load_checkpoint(run)["objects"]
    return {
        f"{name}.{key}": value
        for name, state in (("model", objects["model"]), ("ema", objects["ema"]["weights"]))
        for key, value in state.items()
    }


def assert_same_weights(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
