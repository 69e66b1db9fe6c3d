"""Settings of training: from YAML and the command line, saved with the run, refused by name."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from hmeg.cli import main
from hmeg.training.image_trainer import ImageTrainer
from hmeg.training.layout_trainer import LayoutTrainer
from hmeg.training.settings import ImageTrainingConfig, LayoutTrainingConfig, resolve, settings_of, to_yaml
from tests.support.training_data import IMAGE, LAYOUT, log, prepared


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize("config", [LAYOUT, IMAGE, replace(IMAGE, adversarial_scales=(), schedule="cosine", clip=1.5)])
def test_yaml_and_back(config: LayoutTrainingConfig | ImageTrainingConfig, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(settings_of(config)))
    assert resolve(type(config), path, {}) == config
    assert resolve(type(config), path, {"steps": 99}) == replace(config, steps=99)


def test_command_line_comes_before_the_file_before_the_defaults(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: small\nbatch_size: 2\nlearning_rate: 5e-4\nsteps: 7\nlim: false\n")
    arguments = ["train", "layout", "--data", str(data), "--out", str(tmp_path / "run"), "--config", str(path)]
    result = CliRunner().invoke(main, [*arguments, "--steps", "2", "--lim"])
    assert result.exit_code == 0, result.output
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["trainer"] == "layout"
    assert (saved["model"], saved["batch_size"], saved["learning_rate"]) == ("small", 2, 5e-4)
    assert (saved["steps"], saved["lim"], saved["box_weight"]) == (2, True, 10.0)
    assert {entry.name for entry in fields(LayoutTrainingConfig)} < set(saved)
    assert log(tmp_path / "run")[-1]["step"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize: 3", "no setting 'batchsize'; did you mean batch_size?"),
        ("learning-rate: 0.1", "did you mean learning_rate?"),
        ("xyz: 1", "`hmeg train layout` has no setting 'xyz'"),
        ("trainer: image", "settings of `hmeg train image`"),
        ("- 1\n- 2", "must hold settings"),
        ("steps: [", "not YAML"),
        ("steps: many", "--steps must be a whole number, got 'many'"),
        ("lim: 1", "--lim must be true or false"),
        ("learning_rate: fast", "--learning-rate must be a number"),
        ("model: huge", "--model must be one of base, small"),
        ("unpaired_share: 2", "--unpaired-share must be in [0, 1]"),
        ("decay_steps: 5", "--decay-steps needs --schedule cosine"),
        ("clip: .nan", "--clip must be a finite number, got nan"),
        ("clip: -1", "--clip must be at least 0, got -1"),
        ("box_weight: .inf", "--box-weight must be a finite number, got inf"),
        ("learning_rate: 1" + "0" * 400, "--learning-rate must be a finite number, got 1000"),
        ("discriminator_weight_decay: .nan", "--discriminator-weight-decay must be a finite number"),
        ("seed: 9223372036854775808", "--seed must be at most 9223372036854775807"),
        ("steps: 1\nclip: 2\nsteps: 3", "steps is given twice"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below, as plain text
        resolve(LayoutTrainingConfig, path, {})
    assert message in str(caught.value)


def test_help_is_quick_and_complete() -> None:
    """Without torch: nobody waits for it to read a page of options."""
    script = (
        "import sys; from hmeg.cli import main\n"
        "try: main(['train', 'layout', '--help'])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    text = " ".join(shown.split())
    for entry in fields(LayoutTrainingConfig):
        assert " --" + entry.name.replace("_", "-") in text
        assert entry.metadata["help"] in text
    assert "[default: 5e-05]" in text and "[default: lim]" in text and "status 75" not in text
    group = CliRunner().invoke(main, ["train", "--help"]).output
    assert "status 75" in " ".join(group.split())


@pytest.mark.slow
def test_tensorboard_writes_scalars_and_pictures(data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = replace(IMAGE, steps=2, tensorboard=True, validation=str(data), validate_every=1, validation_limit=2)
    ImageTrainer(data, tmp_path / "run", config).train()
    found = EventAccumulator(str(tmp_path / "run")).Reload()
    assert {"loss/pixel", "loss/gradient", "validation/pixel_l1"} <= set(found.Tags()["scalars"])
    assert [event.step for event in found.Scalars("validation/recognisability")] == [1, 2]
    (picture,) = found.Tags()["images"]
    with Image.open(io.BytesIO(found.Images(picture)[0].encoded_image_string)) as image:
        assert image.size == (2 * 256, 2 * 256), "two expressions, real above drawn"
    last = log(tmp_path / "run", "validation.jsonl")[-1]
    assert 0 < last["pixel_l1"] < 1 and 0 <= last["symbols_read"] <= 1 and last["recognisability"] >= 0


def test_without_tensorboard_the_package_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install 'hmeg\[tensorboard\]'"):
        LayoutTrainer(data, tmp_path / "run", replace(LAYOUT, tensorboard=True)).train()
