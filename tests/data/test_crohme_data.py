"""`hmeg data crohme`: prepared folders, resuming, refusals."""

from __future__ import annotations

import errno
import json
import math
import os
import tarfile
from concurrent.futures import BrokenExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hmeg.cli import main
from hmeg.data import crohme
from hmeg.data.crohme import CrohmeDataset, RenderSettings, collate, prepare
from tests.support.ink_samples import write_samples


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_samples(tmp_path / "source")


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_folder_becomes_images_boxes_and_graphs(source: Path, tmp_path: Path) -> None:
    dealt_with: list[int] = []
    report = prepare(source, tmp_path / "out", workers=1, progress=dealt_with.append)
    assert (report.written, report.refused, report.reused) == (4, 2, 0)
    assert sum(dealt_with) == 6
    dataset = CrohmeDataset(tmp_path / "out")
    assert len(dataset) == 4 and dataset.size == 256
    first = dataset[0]
    assert first.graph.symbols == ("x", "2") and first.graph.latex == "x^2"
    assert [(r.subject, r.object, r.name) for r in first.graph.relations] == [(0, 1, "Sup")]
    assert first.image.shape == (256, 256) and first.image.min() == 0
    boxes = first.graph.boxes
    assert boxes is not None
    assert boxes[0, 1] > boxes[1, 1] and boxes[1, 0] > boxes[0, 2], "the exponent lies above and to the right"


def test_refused_files_are_listed_with_a_reason(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "out", workers=1)
    refused = records(tmp_path / "out" / "refused.jsonl")
    assert sorted(Path(str(r["source"])).name for r in refused) == ["empty.inkml", "text.inkml"]
    assert all("\n" not in str(r["reason"]) and r["reason"] for r in refused)


def test_symbols_that_models_do_not_know_are_refused(source: Path, tmp_path: Path) -> None:
    file = next(path for path in sorted(source.rglob("*.inkml")) if ">x<" in path.read_text())
    (source / "omega.inkml").write_text(file.read_text().replace(">x<", r">\omega<"))
    prepare(source, tmp_path / "out", workers=1)
    reasons = {Path(str(r["source"])).name: str(r["reason"]) for r in records(tmp_path / "out" / "refused.jsonl")}
    assert r"do not know \omega" in reasons["omega.inkml"]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(source: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    prepare(source, whole, workers=1)
    prepare(source, cut, workers=1)
    lines = (cut / "graphs.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "graphs.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:20])  # killed while writing the third
    (cut / "images" / "w1_b.png").unlink()
    before = (cut / "graphs.jsonl").read_bytes()
    assert len(CrohmeDataset(cut)) == 2
    assert (cut / "graphs.jsonl").read_bytes() == before, "reading changes nothing: a writer may be at work"
    report = prepare(source, cut, workers=1)
    assert (report.written, report.reused) == (4, 2)
    assert records(cut / "graphs.jsonl") == records(whole / "graphs.jsonl")
    assert sorted(p.name for p in (cut / "images").iterdir()) == sorted(p.name for p in (whole / "images").iterdir())


@pytest.mark.slow
def test_archive_and_folder_give_the_same(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "ink.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(source, arcname="source")
    prepare(archive, tmp_path / "a", workers=2)
    prepare(source, tmp_path / "b", workers=1)
    a, b = CrohmeDataset(tmp_path / "a"), CrohmeDataset(tmp_path / "b")
    assert sorted(g.latex or "" for g in a.graphs) == sorted(g.latex or "" for g in b.graphs)


def test_other_settings_and_foreign_folders_are_refused(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "out", workers=1)
    with pytest.raises(ValueError, match=r"other settings \(size 256, not 128\)"):
        prepare(source, tmp_path / "out", RenderSettings(size=128), workers=1)
    with pytest.raises(ValueError, match="leaves nothing"):
        RenderSettings(size=64, margin=32)
    with pytest.raises(ValueError, match="not empty"):
        prepare(source, source, workers=1)


def test_another_source_of_the_same_names_is_refused_and_nothing_changes(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(source, out, workers=1)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    other = write_samples(tmp_path / "other")
    changed = sorted(other.rglob("*.inkml"))[0]
    changed.write_bytes(changed.read_bytes() + b"\n")
    deeper = tmp_path / "deeper"
    write_samples(deeper / "below" / "source")
    for foreign in (other, deeper):
        with pytest.raises(ValueError, match=r"prepared from another .*choose another folder"):
            prepare(foreign, out, workers=1)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


NOT_FINITE = '{"name": "n", "symbols": ["x"], "relations": [], "boxes": [[NaN, 0, 1, 1]], "latex": "x"}\n'


@pytest.mark.parametrize("graphs", [NOT_FINITE, "{}\n", "rubbish\n", '{"name": "x", "symbols": 3}\n', "[]\n"])
def test_a_damaged_data_set_is_named(tmp_path: Path, graphs: str) -> None:
    (tmp_path / "dataset.json").write_text('{"size": 64}')
    (tmp_path / "graphs.jsonl").write_text(graphs)
    with pytest.raises(ValueError, match="is a damaged data set"):
        CrohmeDataset(tmp_path, max_symbols=9)


@pytest.mark.parametrize(
    ("stopped_by", "message"), [(KeyboardInterrupt(), "interrupted"), (BrokenExecutor(), "killed")]
)
def test_a_stopped_run_says_how_to_go_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_by: BaseException, message: str
) -> None:
    def stopped(*arguments: object) -> None:
        raise stopped_by

    monkeypatch.setattr(crohme, "prepare", stopped)
    result = CliRunner().invoke(main, ["data", "crohme", str(source), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert message in result.output and "the same command goes on" in result.output


def test_a_folder_that_was_never_prepared_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="hmeg data crohme"):
        CrohmeDataset(tmp_path)


def test_collate_makes_tensors(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "out", RenderSettings(size=64), workers=1)
    dataset = CrohmeDataset(tmp_path / "out")
    batch = collate([dataset[0], dataset[1]], image_channels=3)
    assert batch.images.shape == (2, 3, 64, 64) and batch.images.dtype == torch.float32
    assert batch.images.max() == 1 and batch.images.min() == 0
    assert torch.equal(batch.images[:, 0], batch.images[:, 2])
    assert batch.graph.symbols.shape == (5,) and batch.graph.edge_type.shape == (4 + 9,)
    assert batch.graph.boxes is not None
    np.testing.assert_array_equal(batch.graph.boxes[:2].numpy(), dataset.graphs[0].boxes)


def test_long_expressions_can_be_left_out(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "out", RenderSettings(size=64), workers=1)
    assert {len(g) for g in CrohmeDataset(tmp_path / "out", max_symbols=2).graphs} == {2}


def test_command_line(source: Path, tmp_path: Path) -> None:
    arguments = ["data", "crohme", str(source), "--out", str(tmp_path / "out"), "--workers", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "4 expressions" in result.output and "2 files refused" in result.output
    again = CliRunner().invoke(main, arguments)
    assert "4 of them from an earlier run" in again.output
    other = CliRunner().invoke(main, [*arguments, "--size", "64"])
    assert other.exit_code == 1 and "other settings" in other.output and "Traceback" not in other.output


def test_nothing_usable_fails(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.inkml").write_text("rubbish")
    result = CliRunner().invoke(main, ["data", "crohme", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1 and "no usable InkML" in result.output


@pytest.mark.parametrize("moment", ["first", "last"])
def test_the_header_is_whole_whenever_the_disk_is_full(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """What is there says whose folder it is, or nothing is there; the same command goes on."""
    out, header = tmp_path / "out", tmp_path / "out" / "dataset.json"
    replace = os.replace

    def full(part: Path, target: Path) -> None:
        if target == header and (moment == "first" or header.exists()):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(part, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(source, out, workers=1)
    monkeypatch.setattr(os, "replace", replace)
    if moment == "first":
        assert list(out.iterdir()) == []
    else:
        assert json.loads(header.read_text())["size"] == 256
    assert prepare(source, out, workers=1).written == 4
    assert json.loads(header.read_text())["written"] == 4


def test_what_a_killed_run_leaves_of_its_header_is_no_obstacle(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset.json.part").write_text('{"for')
    assert prepare(source, tmp_path / "out", workers=1).written == 4
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("dataset.json", "graphs.jsonl", "images", "refused.jsonl")
    ]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("dataset.json", "", r"dataset\.json is damaged"),
        ("dataset.json", "[]", "is no description of a prepared data set"),
        ("graphs.jsonl", "rubbish\n", r"graphs\.jsonl is damaged"),
        ("graphs.jsonl", "[]\n", "is a damaged data set"),
        ("refused.jsonl", "{}\n", "is a damaged data set"),
    ],
)
def test_a_damaged_folder_is_not_gone_on_with(source: Path, tmp_path: Path, file: str, text: str, message: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "dataset.json").write_text(json.dumps({"format": 1, **asdict(RenderSettings())}))
    (out / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        prepare(source, out, workers=1)
    assert (out / file).read_text() == text


def test_sizes_that_are_no_numbers(source: Path, tmp_path: Path) -> None:
    for option in ("--stroke-width", "--margin", "--symbol-side"):
        for value in ("nan", "inf"):
            arguments = ["data", "crohme", str(source), "--out", str(tmp_path / "out"), option, value]
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 2
            assert f"{value} is no finite number" in result.output
    with pytest.raises(ValueError, match="symbol side must be a finite number of pixels, not nan"):
        RenderSettings(symbol_side=math.nan)
    assert not (tmp_path / "out").exists()
