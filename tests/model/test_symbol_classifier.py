"""The small classifier that reads generated symbols: what it looks at, its training, its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from hmeg.cli import main
from hmeg.data.crohme import CrohmeDataset
from hmeg.data.symbol_accuracy import accuracy_on
from hmeg.model.symbol_classifier import (
    SIDE,
    SymbolClassifier,
    cut_windows,
    load_classifier,
    read_symbols,
    save_classifier,
    windows_of,
)
from hmeg.training.classifier_trainer import ClassifierTrainer
from hmeg.training.layout_trainer import LayoutTrainer
from hmeg.training.settings import ClassifierTrainingConfig
from tests.support.training_data import LAYOUT, log, prepared


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("prepared"))


def test_windows_hold_the_box_and_are_never_slivers() -> None:
    boxes = torch.tensor([[0.1, 0.5, 0.9, 0.51], [0.4, 0.2, 0.5, 0.8], [0.3, 0.3, 0.5, 0.5]])
    windows = windows_of(boxes)
    assert (windows[:, :2] < boxes[:, :2]).all() and (windows[:, 2:] > boxes[:, 2:]).all()
    sides = windows[:, 2:] - windows[:, :2]
    assert (sides.amin(1) > 0.5 * sides.amax(1)).all()
    assert torch.allclose((windows[:, :2] + windows[:, 2:]) / 2, (boxes[:, :2] + boxes[:, 2:]) / 2)


def test_ink_is_what_is_dark_and_paper_goes_on_beyond_the_edge() -> None:
    images = torch.ones(2, 1, 64, 64)
    images[1, :, 16:32, 16:32] = 0
    ink = cut_windows(images, torch.tensor([[0.0, 0, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5], [-1, -1, -0.5, -0.5]]),
                      torch.tensor([0, 1, 1]))  # fmt: skip
    assert ink.shape == (3, 1, SIDE, SIDE)
    assert ink[0].max() == 0 and ink[2].max() == 0
    assert ink[1].mean() > 0.9


@pytest.mark.slow
def test_it_learns_to_read_and_is_packed(data: Path, tmp_path: Path) -> None:
    config = ClassifierTrainingConfig(
        device="cpu", steps=60, batch_size=6, learning_rate=3e-3, ema_decay=0.9, validation=str(data), validate_every=60
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ClassifierTrainer(data, tmp_path / "run", config).train()
    torch.set_num_threads(threads)
    assert log(tmp_path / "run", "validation.jsonl")[-1]["accuracy"] > 0.9
    out = tmp_path / "symbols.safetensors"
    arguments = ["train", "pack", "--classifier", str(tmp_path / "run"), "--out", str(out)]
    refused = CliRunner().invoke(main, [*arguments, "--temperature", "0.5"])
    assert refused.exit_code == 2 and "--temperature is for layouts" in refused.output and not out.exists()
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    dataset = CrohmeDataset(data)
    recogniser = load_classifier(out)
    assert accuracy_on(recogniser, dataset) > 0.9
    graph = dataset.graphs[0]
    assert graph.boxes is not None
    blank = torch.ones(1, 1, 256, 256)
    read = read_symbols(recogniser, blank, torch.from_numpy(graph.boxes), torch.zeros(len(graph), dtype=torch.int64))
    assert len(read.unique()) == 1, "nothing but ink tells symbols apart"
    with pytest.raises(click.UsageError) as usage:
        main([*arguments, "--joint", str(tmp_path / "run")], standalone_mode=False)
    assert "--layout and --image" in str(usage.value)


def test_it_resumes_exactly(data: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = ClassifierTrainingConfig(steps=4, batch_size=3, device="cpu")
    ClassifierTrainer(data, tmp_path / "whole", config).train()
    ClassifierTrainer(data, tmp_path / "halves", replace(config, checkpoint_every=2)).train()
    (tmp_path / "halves" / "checkpoint-00000004.pt").unlink()
    ClassifierTrainer(data, tmp_path / "halves", config, resume=True).train()
    torch.set_num_threads(threads)
    assert log(tmp_path / "whole")[-1]["class"] == log(tmp_path / "halves")[-1]["class"]


def test_files_that_are_none_are_refused(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="not a readable file"):
        load_classifier(path)
    save_classifier(SymbolClassifier(width=8), path)
    with pytest.raises(ValueError, match="not a readable file of a symbol recogniser"):
        load_classifier(path)
    LayoutTrainer(data, tmp_path / "layout", replace(LAYOUT, steps=1)).train()
    arguments = ["train", "pack", "--classifier", str(tmp_path / "layout"), "--out", str(path)]
    assert "wanted is one of `hmeg train classifier`" in CliRunner().invoke(main, arguments).output
