"""Reading generated symbols: the reader itself, and what is measured with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hmeg.cli import main
from hmeg.data.crohme import CrohmeDataset, RenderSettings, prepare
from hmeg.evaluation.legibility import _normalised, measure, recognise
from hmeg.generation import load
from tests.support.ink_samples import write_samples
from tests.support.tiny_model import save_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("legibility")
    source = write_samples(folder / "source", copies=6)
    prepare(source, folder / "data", RenderSettings(size=64, stroke_width=2, margin=3, symbol_side=30), workers=1)
    save_tiny(folder / "tiny.safetensors")
    return folder


def pictures(count: int, seed: int) -> tuple[np.ndarray, torch.Tensor]:
    """A bar, a column and a diagonal, in turn, with noise: ink (count, 24, 24), ids 3, 5, 7."""
    shapes = np.zeros((3, 24, 24))
    shapes[0, 10:14], shapes[1, :, 10:14], shapes[2] = 200, 200, 200 * np.eye(24)
    noise = np.random.default_rng(seed).integers(0, 40, (count, 24, 24))
    rows = np.arange(count) % 3
    return (shapes[rows] + noise).astype(np.uint8), torch.from_numpy(np.array([3, 5, 7])[rows])


def test_neighbours_vote_whatever_the_darkness() -> None:
    known, known_ids = pictures(30, seed=0)
    ink, ids = pictures(9, seed=1)
    assert torch.equal(recognise(ink, _normalised(known), known_ids), ids)
    assert torch.equal(recognise(ink // 4, _normalised(known), known_ids), ids)
    assert torch.equal(recognise(ink[:3], _normalised(known[:3]), known_ids[:3]), ids[:3]), "fewer than five are known"


def test_real_symbols_can_be_read_and_noise_cannot(folder: Path) -> None:
    data = CrohmeDataset(folder / "data")
    found = measure(load(folder / "tiny.safetensors", "cpu"), data, data)
    assert (found.expressions, found.symbols) == (len(data), sum(len(graph) for graph in data.graphs))
    assert found.real_accuracy > 0.9
    assert found.at_true_boxes < 0.7 and found.whole_road < 0.7, "random weights write nothing that can be read"
    assert found.classified_real > 0.5, "the bundled classifier reads hand-made x^2 and 1+a"
    assert found.recognisability == pytest.approx(found.classified_at_true_boxes / found.classified_real)
    assert found.classified_at_true_boxes < 0.7 and found.classified_whole_road < 0.7
    assert 0 < found.typeset_iou < 1 and 0 <= found.box_iou < found.typeset_iou
    assert 0.1 < found.pixel_l1 < 1 and found.box_l1 > 0
    assert 0 < found.typeset_energy < found.layout_energy, "random weights are further off than type, spread or not"
    assert 0 < found.box_spread < 1 and 0 < found.pixel_spread < 1


def test_command_line(folder: Path) -> None:
    data = str(folder / "data")
    arguments = ["train", "measure", "--train", data, "--data", data, "--limit", "2", "--weights"]
    result = CliRunner().invoke(main, [*arguments, str(folder / "tiny.safetensors")])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["expressions"] == 2 and json.loads(result.stdout)["box_spread"] > 0
    cold = CliRunner().invoke(main, [*arguments, str(folder / "tiny.safetensors"), "--temperature", "0"])
    assert json.loads(cold.stdout)["box_spread"] == 0
    missing = CliRunner().invoke(main, [*arguments, "nowhere"])
    assert missing.exit_code == 1 and "no weights 'nowhere'" in missing.output and "Traceback" not in missing.output
