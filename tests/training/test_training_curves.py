"""`hmeg train curves`: pictures of a run's logs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from hmeg.cli import main
from hmeg.training.curves import read_log, smoothed
from hmeg.training.loss_log import StepLog


def run_folder(folder: Path, steps: int = 100) -> Path:
    folder.mkdir()
    losses = [{"step": s, "seconds": 0.1 * s, "box": 1 / s, "gradient": 2.0} for s in range(20, steps + 1, 20)]
    measures = [{"step": s, "box_iou": s / 1000} for s in (50, 100)]
    for name, records in (("losses", losses), ("validation", measures)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def curves(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", "curves", *map(str, arguments)])


def test_a_picture_of_two_runs(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / name) for name in ("first", "second")]
    result = curves(*runs, "--out", tmp_path / "deep" / "curves.png")
    assert result.exit_code == 0, result.output
    assert "box, box_iou" in result.output and "gradient" not in result.output
    with Image.open(tmp_path / "deep" / "curves.png") as image:
        assert image.width > 600
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["curves.png"]
    assert curves(runs[0], "--out", tmp_path / "one.svg", "--only", "gradient").exit_code == 0
    assert "<svg" in (tmp_path / "one.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "curves.bmp"], "--out must end in .png, .svg, .pdf"),
        (["--out", "curves.png", "--only", "bx"], "no run has bx; there are box, gradient, box_iou"),
    ],
)
def test_what_cannot_be_drawn(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = curves(run_folder(tmp_path / "run"), *arguments)
    assert result.exit_code == 1 and message in result.output


def test_folders_without_logs_and_rubbish_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = curves(tmp_path / "empty", "--out", tmp_path / "x.png")
    assert result.exit_code == 1 and "holds no losses.jsonl or validation.jsonl" in result.output
    rubbish = run_folder(tmp_path / "rubbish")
    (rubbish / "losses.jsonl").write_bytes(b'{"step": 20, "box": 1}\n\xff[1]\n')
    result = curves(rubbish, "--out", tmp_path / "x.png")
    assert result.exit_code == 1 and "losses.jsonl, line 2, is no record of a step" in result.output
    assert not (tmp_path / "x.png").exists()


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    path.write_text('{"step": 20, "box": 1}\n{"step": 40, "box": NaN}\n{"step": 60, "b')
    steps, values = read_log(path)["box"]
    assert steps.tolist() == [20, 40] and values[0] == 1 and np.isnan(values[1])


def test_smoothing_keeps_the_mean_of_a_line() -> None:
    line = np.arange(100.0)
    assert smoothed(line)[50] == 50 and len(smoothed(line)) == 100
    assert smoothed(np.array([3.0])).tolist() == [3.0]
    assert np.isfinite(smoothed(np.array([1.0, np.nan, 3.0]))).all()


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = curves(run_folder(tmp_path / "run"), "--out", tmp_path / "x.png")
    assert result.exit_code == 1 and "pip install 'hmeg[evaluate]'" in result.output


@pytest.mark.parametrize("line", [b"garbage", b"[]", b"{}", b'{"step": "x"}', b"\xff\xfe", b'{"step": 1e999}'])
def test_a_run_with_a_damaged_log_names_the_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "losses.jsonl"
    whole = b'{"step": 1, "box": 2.0}\n'
    path.write_bytes(whole + line + b"\n" + b'{"step": 9')
    with pytest.raises(ValueError, match=r"losses\.jsonl, line 2, is no record of a step: .*remove the file"):
        StepLog(path).forget_after(3)
    path.write_bytes(whole + b'{"step": 4, "box": 1.0}\n{"step": 9')
    StepLog(path).forget_after(3)
    assert path.read_bytes() == whole
