"""Two processes that share every batch learn what one process learns from the whole of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hmeg.training.checkpoints import checkpoints, load_checkpoint
from hmeg.training.layout_batch import LayoutBatches
from hmeg.training.layout_trainer import LayoutTrainer
from hmeg.training.loop import LOG_EVERY
from hmeg.training.loss_log import LAG
from hmeg.training.processes import Processes
from hmeg.training.settings import settings_of, to_yaml
from tests.support import two_processes
from tests.support.training_data import LAYOUT, log, prepared, weights

# Sums in another order, in float32. Values that round to the other side of a ReLU's or an L1 loss's kink change
# gradients by more than their rounding: a share f of them by about sqrt(f), and f is some 1e-7 of a step.
LOSSES, GRADIENTS = 1e-5, 1e-3
# After steps of Adam, which divides by gradients' sizes, what was rounding of gradients near 0 is the learning rate's.
LATER_LOSSES, LATER_GRADIENTS = 1e-3, 1e-2

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("prepared"))


@pytest.mark.slow
def test_two_processes_are_one(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = subprocess.run(
        [*TORCHRUN, two_processes.__file__, str(data), str(tmp_path / "two")],
        env=environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr[-3000:]
    monkeypatch.setattr("hmeg.training.loop.LOG_EVERY", LOG_EVERY)  # put back what the script changes
    two_processes.main(data, tmp_path / "one")
    for alone, together in zip(*(torch.load(tmp_path / n / "statistics.pt") for n in ("one", "two")), strict=True):
        assert torch.allclose(alone, together, rtol=1e-10, atol=1e-12)
    for run in ("layout", "joint"):
        one, two = log(tmp_path / "one" / run), log(tmp_path / "two" / run)
        assert len(one) == len(two) >= 3
        for number, (alone, together) in enumerate(zip(one, two, strict=True)):
            assert alone.keys() == together.keys()
            for name in alone.keys() - {"seconds"}:
                losses, gradients = (LATER_LOSSES, LATER_GRADIENTS) if number else (LOSSES, GRADIENTS)
                tolerance = gradients if name.endswith("gradient") else losses
                assert together[name] == pytest.approx(alone[name], rel=tolerance, abs=1e-6), (run, number, name)
        statistics = [name for name in weights(tmp_path / "one" / run) if "running" in name]
        first, second = weights(tmp_path / "one" / run), weights(tmp_path / "two" / run)
        assert first.keys() == second.keys()
        for name in statistics:
            assert second[name].tolist() == pytest.approx(first[name].tolist(), rel=1e-2, abs=1e-3), name
    one, two = (log(tmp_path / n / "layout", "validation.jsonl") for n in ("one", "two"))
    assert [found["step"] for found in one] == [found["step"] for found in two] == [4, 8]
    for alone, together in zip(one, two, strict=True):
        assert together["box_l1"] == pytest.approx(alone["box_l1"], rel=LATER_GRADIENTS)
        assert together["box_iou"] == pytest.approx(alone["box_iou"], abs=LATER_GRADIENTS)

    for name, last in (("one", 3), ("two", 3 + LAG)):
        (path,) = checkpoints(tmp_path / name / "stopped")
        assert int(path.stem[-8:]) == last, "several processes stop when all have heard of it"


@pytest.mark.slow
def test_torchrun_told_to_stop(data: Path, tmp_path: Path) -> None:
    """torchrun passes SIGTERM on to its processes, they write a checkpoint, and the same command goes on from it."""
    config = tmp_path / "config.yaml"
    config.write_text(to_yaml(settings_of(replace(LAYOUT, steps=10**6, batch_size=6, checkpoint_every=1))))
    run = tmp_path / "run"
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "hmeg", "train", "layout", "--config", str(config), "--data", str(data), "--out", str(run)],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        while process.poll() is None and len(checkpoints(run)) < 2:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:  # nothing may go on after a test that failed
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode not in (0, None), output
    step = int(load_checkpoint(run)["step"])
    assert f"SIGTERM: {run} has a checkpoint of step {step}; add --resume to go on" in output, output[-3000:]
    trainer = LayoutTrainer(data, run, replace(LAYOUT, steps=step + 1, batch_size=6, checkpoint_every=1), resume=True)
    trainer.train()
    assert int(load_checkpoint(run)["step"]) == step + 1


@pytest.mark.slow
def test_uneven_shares_are_refused(data: Path, tmp_path: Path) -> None:
    trainer = LayoutTrainer(data, tmp_path / "run", LAYOUT)
    with pytest.raises(ValueError, match="3 expressions a step cannot be shared evenly by 2 processes"):
        LayoutBatches(trainer.dataset, replace(LAYOUT, batch_size=3), trainer.model_config, Processes(0, 2, "cpu"))
