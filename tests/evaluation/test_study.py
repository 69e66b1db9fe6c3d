"""The augmentation study: what is trained on what, what is repeated after a stop, what the table says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import hmeg.recognition
from hmeg.cli import main
from hmeg.evaluation.study import AUGMENTED, REAL, SIZES, StudySettings, run_study
from hmeg.evaluation.study_report import study_section, summary
from hmeg.training.checkpoints import load_checkpoint
from hmeg.training.signals import EXIT_STATUS, Interrupted
from tests.support.can_samples import LABELS, TINY, write_run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_run(folder / "real", LABELS[:4])
    write_run(folder / "generated", LABELS)
    write_run(folder / "validation", LABELS[2:5])
    return folder


def settings(folder: Path, **changes: Any) -> StudySettings:
    places = {name: str(folder / name) for name in ("real", "generated", "validation")}
    return StudySettings(**places, seeds=(0, 1), config=replace(TINY, steps=2, checkpoint_every=2), **changes)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Path, Any]]:
    """What was given to train_can, which still trains."""
    calls: list[tuple[list[str], Path, Any]] = []
    real = hmeg.recognition.train_can

    def record(data: Any, out: Any, config: Any, resume: bool = False) -> Path:
        calls.append(([Path(place).name for place in data], Path(out), config))
        return real(data, out, config, resume)

    monkeypatch.setattr(hmeg.recognition, "train_can", record, raising=False)
    return calls


def test_arms_differ_in_their_data_alone(folder: Path, tmp_path: Path, trained: list) -> None:
    results = run_study(settings(folder), tmp_path)
    assert [call[0] for call in trained] == [["real"], ["real", "generated"]] * 2
    assert [(run["seed"], run["training_images"], run["expressions"]) for run in results[REAL]] == [
        (0, 4, 3),
        (1, 4, 3),
    ]
    assert [run["training_images"] for run in results[AUGMENTED]] == [12, 12]
    configs = [call[2] for call in trained]
    assert len({(c.steps, c.batch_size, c.model_config(9)) for c in configs}) == 1
    per_pass = [len(LABELS[:4]) // TINY.batch_size, 12 // TINY.batch_size] * 2
    warmups = {round(c.warmup_epochs * n, 9) for c, n in zip(configs, per_pass, strict=True)}
    assert len(warmups) == 1, "the same steps of warm-up, although passes differ"
    first, second = (load_checkpoint(call[1])["objects"]["model"] for call in trained[:2])
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_finished_runs_are_not_repeated(folder: Path, tmp_path: Path, trained: list) -> None:
    whole = run_study(settings(folder), tmp_path / "whole")
    trained.clear()
    again = run_study(settings(folder), tmp_path / "whole")
    assert again == whole and not trained
    (tmp_path / "whole" / "study" / "real+generated-seed1" / "result.json").unlink()
    again = run_study(settings(folder), tmp_path / "whole")
    assert len(trained) == 1, "its training was finished, so it is only read again"
    assert again[AUGMENTED][1]["token_errors"] == whole[AUGMENTED][1]["token_errors"]
    with pytest.raises(ValueError, match="other data or settings"):
        run_study(settings(folder, limit=1), tmp_path / "whole")
    (tmp_path / "whole" / "study" / "real-seed0" / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"result\.json is damaged"):
        run_study(settings(folder), tmp_path / "whole")


@pytest.mark.parametrize("changed", ["real", "generated", "validation"])
def test_images_generated_anew_are_other_data(folder: Path, tmp_path: Path, changed: str) -> None:
    """The same names and labels, one pixel of one image: nothing that was finished counts for it."""
    for name in ("real", "generated", "validation"):
        shutil.copytree(folder / name, tmp_path / name)
    given = replace(settings(tmp_path), seeds=(0,))
    run_study(given, tmp_path / "out")
    image = tmp_path / changed / "000002.png"
    pixels = np.array(Image.open(image))
    pixels[3, 5] ^= 1
    Image.fromarray(pixels).save(image)
    with pytest.raises(ValueError, match=r"result\.json comes from other data or settings"):
        run_study(given, tmp_path / "out")


def test_summary_by_hand() -> None:
    def runs(*rates: float) -> list[dict[str, float]]:
        others = ("within_1", "within_2", "within_3", "token_errors", "counting_mae", "counting_mse")
        return [{"exprate": rate, **dict.fromkeys(others, 0.5)} for rate in rates]

    found = summary({REAL: runs(0.1, 0.3), AUGMENTED: runs(0.2, 0.6)})
    assert found["exprate"] == pytest.approx(
        {
            "real": 0.2,
            "real_spread": 0.02**0.5,
            "augmented": 0.4,
            "augmented_spread": 0.08**0.5,
            "difference": 0.2,
            "difference_spread": 0.02**0.5,
        }
    )
    assert found["token_errors"]["difference"] == 0
    assert summary({REAL: runs(0.1), AUGMENTED: runs(0.2)})["exprate"]["difference_spread"] == 0


def evaluate(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["evaluate", "study", *(str(a) for a in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def places(folder: Path) -> list[object]:
    return [part for name in ("real", "generated", "validation") for part in (f"--{name}", folder / name)]


def test_command_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tiny", {"growth": 6, "layers": 2, "hidden": 24, "attention": 24, "counting": 16})
    options = ["--seeds", "3", "--steps", 2, "--batch-size", 4, "--size", "tiny", "--device", "cpu"]
    (tmp_path / "real images").symlink_to(folder / "real")
    given = ["--real", tmp_path / "real images", *places(folder)[2:]]
    result = evaluate(*given, *options, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["sections"]["study"]["results"]
    assert found["seeds"] == [3] and set(found["runs"]) == {REAL, AUGMENTED}
    assert found["summary"]["exprate"]["real"] == found["runs"][REAL][0]["exprate"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "One seed: its spread is not known" in page and "real + generated" in page and "±" not in page
    assert (
        "Expression rates, seed 3" in page
        and "neither trimmed nor shrunk" in page
        and f"torch {torch.__version__}" in page
    )
    assert f"--real '{tmp_path / 'real images'}'" in found["command"] and "--device cpu" in found["command"]
    assert found["versions"]["torch"] == torch.__version__
    again = evaluate(*given, *options, "--out", tmp_path / "out")
    assert again.exit_code == 0 and "finished before" in again.stderr


def test_what_is_done_to_images_is_said() -> None:
    others = ("within_1", "within_2", "within_3", "token_errors", "counting_mae", "counting_mse")
    run = {"exprate": 0.5, **dict.fromkeys(others, 0.5), "training_images": 9, "expressions": 5}
    settings = {"size": "tiny", "steps": 2, "batch_size": 4, "limit": 5, "trim": 8, "shrink": 2}
    runs = {arm: [{**run, "seed": seed} for seed in (0, 1, 2)] for arm in (REAL, AUGMENTED)}
    text = study_section(runs, settings, "hmeg")._blocks[0]["text"]
    assert "seeds 0, 1, 2" in text and "± is the standard deviation" in text and "(the first ones: --limit)" in text
    assert "cut to the ink and 8 pixels around it (trim 8) and made smaller 2 times a side (shrink 2)" in text


def test_stopped_on_request(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any, **keywords: Any) -> Path:
        raise Interrupted("stopped by SIGTERM after step 1")

    monkeypatch.setattr(hmeg.recognition, "train_can", stopped, raising=False)
    options = ["--steps", 2, "--size", "tiny", "--device", "cpu", "--out", tmp_path / "out"]
    result = evaluate(*places(folder), *options)
    assert result.exit_code == EXIT_STATUS and "step 1; the same command goes on" in result.stderr
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_run_that_was_stopped_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the steps of a run: its checkpoint is used, and the result is that of an unbroken one."""
    wanted = run_study(settings(folder), tmp_path / "whole")
    real = hmeg.recognition.train_can

    def half(data: Any, out: Any, config: Any, resume: bool = False) -> Path:
        real(data, out, replace(config, steps=1, checkpoint_every=1), resume)
        raise Interrupted("stopped")

    monkeypatch.setattr(hmeg.recognition, "train_can", half, raising=False)
    with pytest.raises(Interrupted):
        run_study(settings(folder), tmp_path / "halves")
    assert (tmp_path / "halves" / "study" / "real-seed0" / "config.yaml").exists()
    monkeypatch.setattr(hmeg.recognition, "train_can", real, raising=False)
    found = run_study(settings(folder), tmp_path / "halves")
    for measure in ("token_errors", "counting_mae", "counting_mse"):
        assert found[REAL][0][measure] == wanted[REAL][0][measure]


def test_refusals(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    arguments = [
        "--real",
        folder / "real",
        "--validation",
        folder / "validation",
        "--size",
        "tiny",
        "--out",
        tmp_path / "o",
    ]
    result = evaluate(*arguments, "--generated", tmp_path / "empty")
    assert result.exit_code == 1 and "empty" in result.stderr and "no images found" in result.stderr
    result = evaluate(*arguments, "--generated", folder / "generated", "--device", "moon")
    assert result.exit_code == 1 and "moon" in result.stderr
    assert not (tmp_path / "o").exists()


def test_the_sizes_are_networks() -> None:
    for size in SIZES.values():
        replace(TINY, **size).model_config(111)
    assert {name: replace(TINY, **size).isolated for name, size in SIZES.items()} == {"tiny": True, "full": False}
