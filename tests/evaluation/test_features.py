"""Features of images: their sizes and names, and that they do not depend on the company an image is in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hmeg.cli import main
from hmeg.evaluation.features import can_features, features_of, symbol_crops, symbol_features
from hmeg.evaluation.image_metrics import fitted
from hmeg.image_sets import open_images
from hmeg.model.symbol_classifier import bundled_classifier, read_symbols
from hmeg.recognition import Recogniser, load, train_can
from tests.support.can_samples import LABELS, TINY, drawn, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CAN that was trained for one step, on images that it cuts and shrinks."""
    folder = tmp_path_factory.mktemp("can")
    write_run(folder / "data")
    train_can(folder / "data", folder / "run", replace(TINY, steps=1, checkpoint_every=1, trim=3, shrink=2))
    return folder


@pytest.fixture
def reader(run: Path) -> Recogniser:
    return load(run / "run", "cpu")


def pages() -> np.ndarray:
    return np.stack([fitted(drawn(label), 64) for label in LABELS])


def test_whole_images() -> None:
    extractor = symbol_features(bundled_classifier())
    assert "Inception" not in extractor.name and "hmeg symbol features" in extractor.name
    found = features_of(pages(), extractor.compute)
    assert found.shape == (len(LABELS), 192)
    assert torch.equal(found[:, 96:], torch.maximum(found[:, 96:], found[:, :96])), "maxima are not below means"
    blank = features_of(np.full((1, 64, 64), 255, dtype=np.uint8), extractor.compute)
    assert float((found - blank).abs().sum(dim=1).min()) > 1, "ink is seen"
    torch.testing.assert_close(features_of(pages()[2:3], extractor.compute), found[2:3])


def test_symbols_cut_out(prepared_data: Path) -> None:
    images = open_images(prepared_data)
    graphs = [entry.graph for entry in images.entries if entry.graph is not None]
    pixels = np.stack(list(images))
    features, logits = symbol_crops(bundled_classifier(), pixels, graphs)
    symbols = sum(len(graph) for graph in graphs)
    assert features.shape == (symbols, 384) and logits.shape == (symbols, 101)
    boxes = torch.from_numpy(np.concatenate([graph.boxes for graph in graphs if graph.boxes is not None]))
    batch = torch.arange(len(graphs)).repeat_interleave(torch.tensor([len(graph) for graph in graphs]))
    read = read_symbols(bundled_classifier(), torch.from_numpy(pixels)[:, None].float() / 255, boxes, batch)
    assert torch.equal(logits.argmax(dim=1) + 1, read)


def test_cans_encoder(reader: Recogniser) -> None:
    extractor = can_features(reader, "run")
    assert extractor.name == "CAN's encoder, run"
    found = features_of(pages(), extractor.compute)
    assert found.shape == (len(LABELS), reader.model.config.features)
    alone = torch.cat([features_of(pages()[i : i + 1], extractor.compute) for i in range(len(LABELS))])
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)
    assert float(found.std(dim=0).max()) > 1e-4


def test_on_the_command_line(run: Path, tmp_path: Path) -> None:
    data = run / "data"
    arguments = ["evaluate", "images", str(data), str(data), "--size", "64", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*arguments, "--features", f"can:{run / 'run'}"])
    assert result.exit_code == 0, result.output
    section = json.loads((tmp_path / "out" / "metrics.json").read_text())["sections"]["images data"]
    by_can = [m for m in section["results"]["measures"] if m["features"] == "CAN's encoder, run"]
    assert [m["name"] for m in by_can] == ["Fréchet distance", "Kernel distance"]
    assert by_can[0]["value"] == pytest.approx(0, abs=1e-6)
    wrong = CliRunner().invoke(main, [*arguments, "--features", "vgg"])
    assert wrong.exit_code == 2 and "names no features" in wrong.stderr
    missing = CliRunner().invoke(main, [*arguments, "--features", "can:nowhere"])
    assert missing.exit_code == 1 and "nowhere" in missing.stderr and "Traceback" not in missing.output


def test_recognition_joins_the_report(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", "recognition", "--checkpoint", str(run / "run"), "--data", str(run / "data")]
    result = CliRunner().invoke(main, [*arguments, "--device", "cpu", "--report", str(out)])
    assert result.exit_code == 0, result.output
    found = json.loads((out / "metrics.json").read_text())["sections"]["recognition run on data"]["results"]
    assert found["expressions"] == len(LABELS) and 0 <= found["exprate"] <= found["within_3"] <= 1
    page = (out / "report.html").read_text(encoding="utf-8")
    assert (
        "Recognition: run on data" in page and "ExpRate" in page and f"report: {out / 'report.html'}" in result.stdout
    )
    (out / "metrics.json").write_text("[]")
    refused = CliRunner().invoke(main, [*arguments, "--device", "cpu", "--report", str(out)])
    assert refused.exit_code == 1 and "was not made by this version" in refused.stderr
