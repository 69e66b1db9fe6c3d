"""Training of the recogniser: it learns, stops and goes on, and says what is wrong."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hmeg.recognition import evaluate_recognition, load, train_can
from hmeg.recognition.checkpoint import BEST, LAST
from hmeg.recognition.recogniser import Reading, Recogniser
from hmeg.recognition.settings import CanTrainingConfig
from hmeg.recognition.trainer import CanTrainer
from hmeg.recognition.training_batches import TaughtBatch
from hmeg.recognition.words import Words, default_words
from hmeg.training.checkpoints import load_checkpoint
from hmeg.training.settings import settings_of, to_yaml
from hmeg.training.signals import Interrupted
from tests.support.can_samples import LABELS, TINY, drawn, write_can, write_run
from tests.support.training_data import log

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("can") / "data")


def test_a_tiny_set_is_learned_by_heart(data: Path, tmp_path: Path) -> None:
    """Eight images in print, from random weights to every expression right, by the published optimiser and losses."""
    config = replace(TINY, steps=190, batch_size=8, checkpoint_every=500, validation=str(data), validate_every=180)
    checkpoint = train_can(data, tmp_path / "run", config)
    assert checkpoint == tmp_path / "run" / LAST
    found = evaluate_recognition(checkpoint, data, device="cpu", worst=tmp_path / "worst")
    assert found["exprate"] == 1.0
    assert found["token_errors"] == 0.0
    assert found["counting_mae"] < 0.5
    assert (tmp_path / "worst" / "worst.jsonl").read_text() == ""
    assert not (tmp_path / "worst" / "worst.png").exists()
    (reading,) = load(checkpoint, "cpu").recognise([drawn(LABELS[3])])
    assert " ".join(reading.tokens) == LABELS[3]
    first, *_, last = log(tmp_path / "run")
    assert last["words"] < 0.3 * first["words"]
    assert [record["step"] for record in log(tmp_path / "run", "validation.jsonl")] == [180, 190]
    assert load(tmp_path / "run", "cpu").recognise([drawn(LABELS[0])])[0].tokens == ("1",)  # best.pt


def test_trimmed_images_of_mixed_sizes_are_learned_by_heart(data: Path, tmp_path: Path) -> None:
    """What training lets an image see of its batch's filling, reading hides: with --trim neither may count."""
    config = replace(TINY, steps=190, batch_size=8, checkpoint_every=500, trim=8)
    trainer = CanTrainer(data, tmp_path / "run", config)
    assert trainer.prepare(0).images.filled
    found = evaluate_recognition(trainer.train(), data, device="cpu")
    assert (found["exprate"], found["token_errors"]) == (1.0, 0.0)


@pytest.mark.parametrize(("isolate", "trim"), [("always", -1), ("auto", 4), ("never", 4), ("auto", -1)])
def test_what_fills_a_batch_up_may_count_or_not(data: Path, tmp_path: Path, isolate: str, trim: int) -> None:
    """Losses of a batch, and of the same one filled up with more paper; the latter differ where filling is seen."""
    trainer = CanTrainer(data, tmp_path / "run", replace(TINY, isolate=isolate, trim=trim))
    isolated = isolate == "always" or (isolate, trim) == ("auto", 4)
    assert trainer.config.isolate == ("always" if isolated else "never")
    assert f"isolate: {trainer.config.isolate}\n" in (tmp_path / "run" / "config.yaml").read_text()
    batch = trainer.prepare(0)
    wider = replace(batch.images, pixels=torch.nn.functional.pad(batch.images.pixels, (0, 64)), filled=True)
    for part in trainer.model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):  # statistics are of everything, and would differ either way
            part.train = lambda mode=True, part=part: part  # type: ignore[assignment, misc]
            part.training = False
            part.bias.data.fill_(0.5)  # paper is no zero behind it
    batch.images.filled = True
    narrow, wide = (trainer.losses(replace(batch, images=images))["words"].detach() for images in (batch.images, wider))
    assert torch.allclose(narrow, wide, atol=1e-5) == isolated
    trainer.train()
    state = torch.load(tmp_path / "run" / LAST, weights_only=True)
    assert state["isolated"] == isolated
    # as a run and a checkpoint were before there was the setting
    text = (tmp_path / "run" / "config.yaml").read_text().replace(f"isolate: {trainer.config.isolate}\n", "")
    (tmp_path / "run" / "config.yaml").write_text(text)
    del state["isolated"]
    torch.save(state, tmp_path / "old.pt")
    assert load(tmp_path / "old.pt", "cpu").preparation.trim == trim
    if isolated:
        with pytest.raises(ValueError, match="isolate was 'never', now 'always'"):
            CanTrainer(data, tmp_path / "run", trainer.config, resume=True)
        return
    path = tmp_path / "run" / "checkpoint-00000004.pt"
    state = torch.load(path, weights_only=True)
    del state["objects"]["facts"]["isolated"]
    torch.save(state, path)
    assert CanTrainer(data, tmp_path / "run", trainer.config, resume=True).run.step == 4


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run)["objects"]["model"]


DROPPING = replace(TINY, steps=6, dropout=0.5, encoder_dropout=0.2, warmup_epochs=1.0, ema_decay=0.5)


def test_a_resumed_run_gives_the_same_numbers(data: Path, tmp_path: Path) -> None:
    train_can(data, tmp_path / "whole", DROPPING)
    stopped = CanTrainer(data, tmp_path / "parts", DROPPING)
    step = stopped.step

    def told_to_stop(number: int, batch: TaughtBatch) -> dict[str, torch.Tensor]:
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(number, batch)

    stopped.step = told_to_stop  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match="SIGTERM"):
        stopped.train()
    assert not (tmp_path / "parts" / LAST).exists()
    trainer = CanTrainer(data, tmp_path / "parts", DROPPING, resume=True)
    assert trainer.run.step == 3
    trainer.train()
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    whole, parts = (torch.load(tmp_path / run / LAST, weights_only=True)["model"] for run in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert not all(torch.equal(value, first[name]) for name, value in whole.items())  # averaged


def test_a_run_goes_on_with_the_built_in_dictionary_that_it_has_begun_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Words([*default_words().words[:-4], r"\nolimits", *default_words().words[-4:]])
    with monkeypatch.context() as patch:
        patch.setattr("hmeg.recognition.trainer.default_words", lambda: before)
        train_can(data, tmp_path / "run", TINY)
    trainer = CanTrainer(data, tmp_path / "run", TINY, resume=True)
    assert trainer.words == before
    assert CanTrainer(data, tmp_path / "other", TINY, resume=True).words == default_words()


def test_the_best_weights_are_kept_over_an_interruption(data: Path, tmp_path: Path) -> None:
    config = replace(TINY, validation=str(data), validate_every=2, validation_limit=3)
    train_can(data, tmp_path / "run", config)
    assert (tmp_path / "run" / BEST).exists()
    before = (tmp_path / "run" / BEST).read_bytes()
    trainer = CanTrainer(data, tmp_path / "run", replace(config, steps=6), resume=True)
    assert trainer.best.exprate == 0.0
    trainer.best.exprate = 0.9  # as if it had been good: nothing worse may take its place
    trainer.train()
    assert (tmp_path / "run" / BEST).read_bytes() == before
    assert [record["step"] for record in log(tmp_path / "run", "validation.jsonl")] == [2, 4, 6]
    assert CanTrainer(data, tmp_path / "run", replace(config, steps=6), resume=True).best.exprate == 0.9


def test_epochs_stand_for_steps(data: Path, tmp_path: Path) -> None:
    trainer = CanTrainer(data, tmp_path / "run", replace(TINY, epochs=5, batch_size=3))
    assert (trainer.config.steps, trainer.batches.per_epoch) == (10, 2)


def test_the_learning_rate_warms_up_and_decays(data: Path, tmp_path: Path) -> None:
    config = replace(TINY, steps=12, warmup_epochs=2.0, learning_rate=0.5)  # an epoch has two steps
    learning = CanTrainer(data, tmp_path / "run", config).learning
    rates = [learning.rate(step) for step in range(12)]
    cosine = [config.rate(step) for step in range(12)]
    assert rates == pytest.approx([rate * min(1, (step + 1) / 4) for step, rate in enumerate(cosine)])
    assert rates[0] == 0.125
    assert rates[-1] < 0.02


def test_padding_and_labels_can_be_masked(data: Path, tmp_path: Path) -> None:
    trainer = CanTrainer(data, tmp_path / "a", TINY)
    batch = trainer.prepare(0)
    assert not batch.token_mask.all()
    everywhere = trainer.losses(batch)["words"]
    trainer.config = replace(TINY, mask_labels=True)
    masked = trainer.losses(batch)["words"]
    assert float(everywhere.detach()) != pytest.approx(float(masked.detach()), rel=1e-3)


def test_mixed_sizes_bf16_and_several_sources_train(data: Path, tmp_path: Path) -> None:
    small = write_can(tmp_path / "can", ("x", "1 + x", r"\hat x"))
    config = replace(TINY, precision="bf16", trim=2, shrink=2, batch_size=5)
    trainer = CanTrainer([data, small], tmp_path / "run", config)
    assert any(trainer.prepare(step).images.filled for step in range(2))
    assert "\\hat" in " ".join(trainer.data.notes)
    loaded = load(trainer.train(), "cpu")
    assert (loaded.preparation.trim, loaded.preparation.shrink) == (2, 2)
    assert all(record["words"] > 0 for record in log(tmp_path / "run"))


def test_an_image_alone_must_not_be_too_small(data: Path, tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", LABELS[:1])
    for place, settings, name in (
        (one, {"shrink": 16}, r"000000\.png has 3 x 6 pixels after --trim -1 --shrink 16"),
        (one, {"shrink": 6}, r"000000\.png has 8 x 16 pixels"),
        (data, {"shrink": 8, "batch_size": 1}, "000000\\.png has 6 x 12 pixels"),
        (data, {"trim": 0, "shrink": 2, "batch_size": 1}, "000000\\.png has 8 x 3 pixels after --trim 0 --shrink 2"),
    ):
        with pytest.raises(ValueError, match=f"{name}.*Give a smaller --shrink, .* or more images"):
            CanTrainer(place, tmp_path / "run", replace(TINY, **settings))
    assert not (tmp_path / "run").exists()
    for place, settings in ((one, {"shrink": 5}), (data, {"shrink": 16, "batch_size": 2})):  # just enough
        train_can(place, tmp_path / f"run{settings['shrink']}", replace(TINY, steps=2, **settings))


def test_a_run_goes_on_with_its_own_data_and_dictionary_only(data: Path, tmp_path: Path) -> None:
    train_can(data, tmp_path / "run", TINY)
    with pytest.raises(ValueError, match="holds a run already"):
        train_can(data, tmp_path / "run", TINY)
    other = write_run(tmp_path / "other", LABELS[:5])
    with pytest.raises(ValueError, match="other data: data set, images changed"):
        train_can(other, tmp_path / "run", TINY, resume=True)
    words = tmp_path / "words.txt"
    words.write_text("\n".join(default_words().words))
    train_can(data, tmp_path / "run", replace(TINY, words=str(words)), resume=True)  # the very words it has
    words.write_text("\n".join([*default_words().words, "more"]))
    with pytest.raises(ValueError, match="dictionary"):
        train_can(data, tmp_path / "run", replace(TINY, words=str(words)), resume=True)
    with pytest.raises(ValueError, match="hidden was 24, now 16"):
        train_can(data, tmp_path / "run", replace(TINY, hidden=16), resume=True)


def test_a_run_does_not_go_on_with_other_images_of_the_same_names(tmp_path: Path) -> None:
    data = write_run(tmp_path / "data")
    train_can(data, tmp_path / "run", TINY)
    picture = drawn(LABELS[5]).copy()
    picture[3, 5] ^= 1
    Image.fromarray(picture).save(data / "000005.png")
    with pytest.raises(ValueError, match="other data: images changed"):
        train_can(data, tmp_path / "run", TINY, resume=True)
    path = tmp_path / "run" / "checkpoint-00000004.pt"
    state = torch.load(path, weights_only=True)
    del state["data"]["images"]  # as it was before images were looked at
    torch.save(state, path)
    train_can(data, tmp_path / "run", TINY, resume=True)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"attention": 6}, "attention must be a multiple of 4"),
        ({"counting": 24}, "counting must be a multiple of 16"),
        ({"growth": 0}, "growth must be at least 1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"shrink": 0}, "--shrink"),
        ({"epsilon": 0.0}, "--epsilon"),
        ({"epochs": -1}, "--epochs"),
        ({"precision": "fp16"}, "--precision"),
        ({"isolate": "yes"}, "--isolate must be one of auto, always, never"),
    ],
)
def test_settings_that_nothing_can_be_trained_with(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        CanTrainingConfig(**settings)


def test_the_published_settings_are_the_defaults() -> None:
    config = CanTrainingConfig()
    assert (config.learning_rate, config.epsilon, config.weight_decay) == (1.0, 1e-6, 1e-4)
    assert (config.batch_size, config.clip, config.warmup_epochs, config.schedule) == (8, 100.0, 1.0, "cosine")
    assert not config.isolated
    model = config.model_config(111)
    assert model.block_channels == ((48, 432), (216, 600), (300, 684))
    assert (model.dropout, model.encoder_dropout) == (0.5, 0.2)


def hmeg(*arguments: str) -> Any:
    from click.testing import CliRunner

    from hmeg.cli import main

    return CliRunner().invoke(main, list(arguments))


def test_the_command_line_from_end_to_end(data: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(to_yaml(settings_of(TINY)))
    run = tmp_path / "run"
    call = ["train", "can", "--config", str(tmp_path / "settings.yaml"), "--out", str(run), "--data", str(data)]
    trained = hmeg(*call, "--data", str(data), "--steps", "2")
    assert trained.exit_code == 0, trained.output
    assert (run / LAST).exists()
    resumed = hmeg(*call, "--data", str(data), "--steps", "3", "--resume")
    assert resumed.exit_code == 0, resumed.output
    call = ["evaluate", "recognition", "--checkpoint", str(run), "--device", "cpu", "--data", str(data)]
    done = hmeg(*call, "--data", str(data), "--limit", "9", "--out", str(tmp_path / "deep" / "R.json"))
    assert done.exit_code == 0, done.output
    assert "9 expressions" in done.output and "ExpRate" in done.output
    found = json.loads((tmp_path / "deep" / "R.json").read_text())
    assert found["expressions"] == 9
    assert found["data"] == [str(data), str(data)]
    worst = [json.loads(line) for line in (tmp_path / "deep" / "R_worst" / "worst.jsonl").read_text().splitlines()]
    assert len(worst) == round(9 * (1 - found["exprate"])) > 0
    for case in worst:
        reference, edits = case["reference"].split(), case["edits"]
        assert len(edits) + case["more_edits"] == case["distance"] > 0
        for edit in edits:
            if edit["kind"] != "insert":
                assert reference[edit["position"]] == edit["reference"]
    assert (tmp_path / "deep" / "R_worst" / "worst.png").stat().st_size > 1000


def test_a_reading_that_never_ends(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 tokens for one: the file has the first edits and their number, the table keeps its columns apart."""
    checkpoint = train_can(data, tmp_path / "run", replace(TINY, steps=1, checkpoint_every=1))
    runaway = Reading(("2",) * 200, np.zeros(len(load(checkpoint, "cpu").words)))
    monkeypatch.setattr(Recogniser, "recognise", lambda self, images, *_, **__: [runaway for _ in images])
    call = ["evaluate", "recognition", "--checkpoint", str(checkpoint), "--data", str(data), "--limit", "1"]
    done = hmeg(*call, "--out", str(tmp_path / "R.json"))
    assert done.exit_code == 0, done.output
    assert "tokens off 20000.00%" in done.output and "  ExpRate        0.00%" in done.output
    (case,) = [json.loads(line) for line in (tmp_path / "R_worst" / "worst.jsonl").read_text().splitlines()]
    assert (len(case["edits"]), case["more_edits"], case["distance"]) == (20, 180, 200)
    assert case["prediction"] == " ".join(runaway.tokens)


def test_the_command_line_says_what_is_wrong_in_one_line(data: Path, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pt"
    rubbish.write_bytes(b"rubbish")
    for arguments, problem in (
        (["train", "can", "--data", "nowhere", "--out", str(tmp_path / "r")], "nowhere: there is no such file"),
        (["train", "can", "--data", str(rubbish), "--out", str(tmp_path / "r")], "no set of images; known files are"),
        (["train", "can", "--data", str(data), "--out", str(tmp_path / "r"), "--words", str(rubbish)], "first two"),
        (["evaluate", "recognition", "--checkpoint", str(rubbish), "--data", str(data)], "rubbish.pt: not a"),
    ):
        result = hmeg(*arguments)
        assert result.exit_code == 1
        assert problem in result.output
        assert "Traceback" not in result.output and result.output.strip().count("\n") == 0
    assert not (tmp_path / "r").exists()
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "R.json"
    result = hmeg("evaluate", "recognition", "--checkpoint", str(rubbish), "--data", str(data), "--out", str(place))
    assert result.exit_code == 1 and "file" in result.output
    assert "rubbish" not in result.output  # nothing was read before the place was looked at
