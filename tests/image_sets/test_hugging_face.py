"""Runs are read by Hugging Face's `datasets` and by Arrow as they are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hmeg.generation.run import Run
from hmeg.graph.latex import parse_latex
from hmeg.image_sets.sample import Sample
from tests.support.hugging_face import load_dataset
from tests.support.runs import settings
from tests.support.samples import sample

pytest.importorskip("datasets")

LARGEST_SEED = 2**64 - 1
EXPRESSIONS = ["x + 1", "x", r"\frac{a}{b}", "x^{2}", r"\sum_{i=1}^{n} i", "y", "a b"]
AUGMENT = [[], [{"RandomAffine": {"angle": 0.5, "center": [1.5, 2]}}], [{"fit": {"scale": 1, "shift": [0.0, 1.0]}}]]

Written = Callable[..., Path]


def drawn(index: int, latex: str) -> Sample:
    graph = parse_latex(latex)
    boxes = np.arange(4 * len(graph), dtype=np.float64).reshape(-1, 4) / 2
    changes = {"seed": LARGEST_SEED, "line": index + 1, "name": f"n{index}", "augment": AUGMENT[index % 3]}
    return dataclasses.replace(sample(index), graph=graph, latex=latex, boxes=boxes, **changes)


SAMPLES = [drawn(index, latex) for index, latex in enumerate(EXPRESSIONS)]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes the samples as a run of two shards and says where."""

    def write(form: str, **changes: str) -> Path:
        with Run(tmp_path / form, settings(form, seed=LARGEST_SEED, **changes)) as run:
            for number in range(2):
                run.begin(number)
                for one in SAMPLES[4 * number : 4 * number + 4]:
                    run.write(one, run.format.encode(one.array))
                run.commit()
            run.finish()
        return tmp_path / form

    return write


def assert_label(row: dict, one: Sample) -> None:
    assert row["latex"] == one.latex
    assert row["tokens"] == one.tokens
    assert row["symbols"] == list(one.graph.symbols)
    assert row["boxes"] == one.boxes.tolist()
    wanted = [{"subject": r.subject, "object": r.object, "type": r.name} for r in one.graph.relations]
    assert row["relations"] == wanted
    assert (row["seed"], row["index"], row["line"]) == (str(LARGEST_SEED), one.index, one.line)
    assert row["name"] == one.name
    assert json.loads(row["augment"]) == one.augment


def test_webdataset(written: Written, tmp_path: Path) -> None:
    shards = sorted(str(path) for path in written("webdataset").glob("*.tar"))
    rows = load_dataset(tmp_path / "cache", "webdataset", data_files=shards)
    assert len(rows) == len(SAMPLES)
    for row, one in zip(rows, SAMPLES, strict=True):
        assert_label(row["json"], one)
        assert (row["txt"], row["__key__"]) == (one.latex, f"{one.index:06d}")
        np.testing.assert_array_equal(np.asarray(row["png"]), one.array)


@pytest.mark.parametrize("split", ["train", "test"])
def test_parquet(written: Written, tmp_path: Path, split: str) -> None:
    """By the folder's name alone: the split is in the names of the files, what an image is in the files."""
    folder = written("parquet", split=split)
    files = {split: [str(path) for path in sorted(folder.glob("*.parquet"))]}
    assert [Path(path).name for path in files[split]] == [f"{split}-000000.parquet", f"{split}-000001.parquet"]
    for rows in (
        load_dataset(tmp_path / "cache", "parquet", data_files=files, split=split),
        load_dataset(tmp_path / "more", str(folder), split=split),
    ):
        assert len(rows) == len(SAMPLES)
        for row, one in zip(rows, SAMPLES, strict=True):
            assert_label(row, one)
            np.testing.assert_array_equal(np.asarray(row["image"]), one.array)


def test_imagefolder(written: Written, tmp_path: Path) -> None:
    """All images with their labels, and nothing else: not the contact sheet."""
    rows = load_dataset(tmp_path / "cache", "imagefolder", data_dir=str(written("folder")))
    assert len(rows) == len(SAMPLES)
    for row, one in zip(rows, SAMPLES, strict=True):
        assert_label(row, one)
        np.testing.assert_array_equal(np.asarray(row["image"]), one.array)


def test_labels_are_a_table(written: Written, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow.json")
    labels = written("can") / "labels.jsonl"
    for rows in (
        arrow.read_json(labels).to_pylist(),
        load_dataset(tmp_path / "cache", "json", data_files=str(labels)),
    ):
        for row, one in zip(rows, SAMPLES, strict=True):
            assert_label(row, one)


def test_graphs_of_prepared_data_are_a_table(prepared_data: Path, tmp_path: Path) -> None:
    rows = load_dataset(tmp_path / "cache", "json", data_files=str(prepared_data / "graphs.jsonl"))
    assert len(rows) == 8
    assert {relation["type"] for row in rows for relation in row["relations"]} == {"Right", "Sup"}
