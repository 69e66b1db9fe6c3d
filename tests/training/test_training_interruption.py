"""Runs that are told to stop, killed, or cut off while they write: nothing but the last steps is lost."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hmeg.training.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from hmeg.training.layout_trainer import LayoutTrainer
from hmeg.training.settings import settings_of, to_yaml
from hmeg.training.signals import EXIT_STATUS, Interrupted
from tests.support.training_data import LAYOUT, assert_same_weights, log, prepared

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 60
CONFIG = replace(LAYOUT, steps=STEPS, checkpoint_every=1, keep=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("whole") / "run"
    LayoutTrainer(data, run, replace(CONFIG, checkpoint_every=STEPS)).train()
    torch.set_num_threads(threads)
    return run


def start(data: Path, run: Path, steps: int = STEPS) -> subprocess.Popen[str]:
    """The command line's run in a process of its own."""
    config = run.parent / "config.yaml"
    config.write_text(to_yaml(settings_of(replace(CONFIG, steps=steps))))
    command = [sys.executable, "-m", "hmeg", "train", "layout", "--config", str(config), "--resume"]
    return subprocess.Popen(
        [*command, "--data", str(data), "--out", str(run)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_step(run: Path, process: subprocess.Popen[str], step: int) -> None:
    """Until a checkpoint of a step after ``step`` is there."""
    while process.poll() is None and not (checkpoints(run) and int(checkpoints(run)[-1].stem[-8:]) > step):
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_at_random_moments(data: Path, whole: Path, tmp_path: Path) -> None:
    """SIGKILL, with a checkpoint written after every step: so as often as not while one is being written."""
    run, moments, reached = tmp_path / "run", random.Random(3), 0
    for _ in range(2):
        process = start(data, run, steps=10**6)
        wait_for_step(run, process, reached)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.communicate()
        found = checkpoints(run)
        assert 1 <= len(found) <= 3, "the last two, and one more if it was killed before it removed the oldest"
        step = int(load_checkpoint(run)["step"])
        assert step >= int(found[-1].stem[-8:]) > reached, "it went on from the last checkpoint"
        reached = step
        if reached >= STEPS - 5:
            break
    if reached >= STEPS:
        pytest.fail(f"the run was quicker than its killer: {reached} steps; raise STEPS")
    LayoutTrainer(data, run, CONFIG, resume=True).train()
    assert_same_weights(whole, run)


@pytest.mark.slow
def test_told_to_stop(data: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(data, run, steps=10**6)
    wait_for_step(run, process, 0)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == EXIT_STATUS == 75, output
    step = int(load_checkpoint(run)["step"])
    assert f"SIGTERM: {run} has a checkpoint of step {step}; add --resume to go on" in output
    assert "Traceback" not in output and step < STEPS
    LayoutTrainer(data, run, CONFIG, resume=True).train()
    assert_same_weights(whole, run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_step_is_finished_first(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    trainer = LayoutTrainer(data, tmp_path / "run", replace(CONFIG, checkpoint_every=50))
    step = trainer.step

    def interrupted(index: int, batch: Any) -> Any:
        if index == 4:
            signal.raise_signal(number)
        return step(index, batch)

    monkeypatch.setattr(trainer, "step", interrupted)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"{number.name}: .* step 5"):
        trainer.train()
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-00000005.pt"]
    assert signal.getsignal(number) is before


def test_a_checkpoint_that_could_not_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, 1, {"step": 1, "objects": {}}, keep=1)

    def half(state: object, path: Path) -> None:
        path.write_bytes(b"half a checkpoint")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(OSError, match="disk full"):
            save_checkpoint(tmp_path, 2, {"step": 2, "objects": {}}, keep=1)
    assert load_checkpoint(tmp_path)["step"] == 1
    save_checkpoint(tmp_path, 2, {"step": 2, "objects": {}}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000002.pt"]


def test_a_disk_that_is_full_is_said_and_not_kept_full(tmp_path: Path) -> None:
    """torch's writer says `unexpected pos 65664 vs 65552` of it, in a RuntimeError."""
    save_checkpoint(tmp_path, 1, {"step": 1, "objects": {}}, keep=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        with pytest.raises(OSError, match=r"is the disk full\? .*checkpoint-00000002\.pt'$"):
            save_checkpoint(tmp_path, 2, {"step": 2, "objects": {"x": torch.zeros(100_000)}}, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001.pt"]


def test_the_last_checkpoints_are_kept(data: Path, tmp_path: Path) -> None:
    LayoutTrainer(data, tmp_path / "run", replace(CONFIG, steps=5, keep=2)).train()
    names = [path.name for path in checkpoints(tmp_path / "run")]
    assert names == ["checkpoint-00000004.pt", "checkpoint-00000005.pt"]
    checkpoints(tmp_path / "run")[-1].write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"00000005\.pt: .*remove it to go on from checkpoint-00000004\.pt"):
        LayoutTrainer(data, tmp_path / "run", CONFIG, resume=True)


def test_a_run_does_not_go_on_with_other_data(data: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=1)
    LayoutTrainer(data, tmp_path / "run", config).train()
    other = prepared(tmp_path / "other", copies=2)
    with pytest.raises(ValueError, match="other data: data set changed"):
        LayoutTrainer(other, tmp_path / "run", config, resume=True)


def test_a_run_goes_on_with_the_same_data_wherever_it_lies(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, moved, copy = tmp_path / "lines.txt", tmp_path / "new" / "other.txt", tmp_path / "copy"
    lines.write_text("x + 1\ny\n")
    config = replace(CONFIG, unpaired=str(lines))
    LayoutTrainer(data, tmp_path / "run", replace(config, steps=1)).train()
    shutil.copytree(data, copy)
    monkeypatch.chdir(tmp_path)
    typed = ["copy", "./copy/", "copy/../copy", copy]
    for step, place in enumerate(typed, 2):
        LayoutTrainer(place, "./run/", replace(config, steps=step), resume=True).train()
    moved.parent.mkdir()
    lines.rename(moved)
    elsewhere = replace(config, steps=7, unpaired="new/other.txt")
    LayoutTrainer(data, tmp_path / "run", elsewhere, resume=True).train()
    assert [path.name for path in checkpoints(tmp_path / "run")][-1] == "checkpoint-00000007.pt"
    moved.write_text("x + 2\ny\n")
    with pytest.raises(ValueError, match="other data: unpaired expressions changed"):
        LayoutTrainer(data, tmp_path / "run", elsewhere, resume=True)
    with pytest.raises(ValueError, match="other data: unpaired expressions changed"):
        LayoutTrainer(data, tmp_path / "run", replace(CONFIG, steps=7), resume=True)


def test_the_first_bad_step_is_named_and_nothing_after_it_saved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = LayoutTrainer(data, tmp_path / "run", replace(CONFIG, checkpoint_every=3))
    step = trainer.step

    def spoilt(index: int, batch: Any) -> Any:
        if index == 7:
            batch.noise[:] = float("inf")
        return step(index, batch)

    monkeypatch.setattr(trainer, "step", spoilt)
    with pytest.raises(FloatingPointError, match=r"step 8: box, .*checkpoint-00000006\.pt is kept"):
        trainer.train()
    assert checkpoints(tmp_path / "run")[-1].name == "checkpoint-00000006.pt"


def test_validation_is_logged_and_repeated_after_a_kill(data: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=4, checkpoint_every=2, validation=str(data), validate_every=1, validation_limit=2)
    LayoutTrainer(data, tmp_path / "run", config).train()
    measured = log(tmp_path / "run", "validation.jsonl")
    assert [record["step"] for record in measured] == [1, 2, 3, 4]
    assert all(0 <= record["box_iou"] <= 1 and record["box_l1"] > 0 and 0 < record["energy"] < 1 for record in measured)
    checkpoints(tmp_path / "run")[-1].unlink()  # as if it had been killed after step 3
    LayoutTrainer(data, tmp_path / "run", config, resume=True).train()
    assert log(tmp_path / "run", "validation.jsonl") == measured
