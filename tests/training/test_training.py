"""The plain trainers: they run, learn, resume exactly, refuse what does not fit, and pack into one weights file."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from torch import nn

import hmeg
from hmeg.cli import main
from hmeg.data.crohme import RenderSettings, prepare
from hmeg.graph import vocabulary
from hmeg.model import HMEG, SMALL, ModelConfig
from hmeg.model.checkpoint import load_weights, save_weights
from hmeg.training.checkpoints import checkpoints, load_checkpoint
from hmeg.training.glyph_ink import varied
from hmeg.training.image_trainer import ImageTrainer
from hmeg.training.joint_trainer import JointTrainer
from hmeg.training.layout_trainer import LayoutTrainer
from hmeg.training.order import Purpose, batch_indices, step_generator
from hmeg.training.pack import layout_generator_of, pack_joint_run, pack_runs
from hmeg.training.settings import JointTrainingConfig, LayoutTrainingConfig, LoopConfig
from tests.support.ink_samples import write_samples
from tests.support.training_data import IMAGE, LAYOUT, assert_same_weights, log, prepared, weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("prepared"))


def test_epochs_are_permutations_and_depend_on_the_seed_alone() -> None:
    epoch = np.concatenate([batch_indices(10, 3, step, seed=5) for step in range(3)])
    assert len(set(epoch.tolist())) == 9 and epoch.max() < 10
    assert not np.array_equal(epoch, np.concatenate([batch_indices(10, 3, step, seed=5) for step in range(3, 6)]))
    assert np.array_equal(batch_indices(10, 3, 4, seed=5), batch_indices(10, 3, 4, seed=5))
    assert not np.array_equal(batch_indices(1000, 30, 0, seed=5), batch_indices(1000, 30, 0, seed=6))
    assert sorted(batch_indices(2, 8, 3, seed=0)) == [0, 1], "fewer than a batch: all of them, every step"


def test_noise_differs_between_steps_and_seeds() -> None:
    drawn = [
        torch.rand(4, generator=step_generator(seed, step, "cpu", purpose))
        for seed in (0, 1)
        for step in (0, 1)
        for purpose in Purpose
    ]
    for i, a in enumerate(drawn):
        for b in drawn[i + 1 :]:
            assert not torch.allclose(a, b)


def test_learning_rate_decays_over_the_last_steps_only() -> None:
    config = LoopConfig(steps=100, learning_rate=2.0, schedule="cosine", decay_steps=40)
    assert config.rate(0) == config.rate(60) == 2.0
    assert config.rate(80) == pytest.approx(1.0)
    assert 0 < config.rate(99) < 0.01


def test_layout_training_learns(data: Path, tmp_path: Path) -> None:
    config = replace(LAYOUT, steps=100, batch_size=6, learning_rate=3e-3, checkpoint_every=100)
    LayoutTrainer(data, tmp_path / "run", config).train()
    losses = log(tmp_path / "run")
    assert losses[-1]["step"] == 100
    assert losses[-1]["box"] < 0.5 * losses[0]["box"]


def test_layout_training_resumes_exactly(data: Path, tmp_path: Path) -> None:
    LayoutTrainer(data, tmp_path / "whole", LAYOUT).train()
    LayoutTrainer(data, tmp_path / "halves", replace(LAYOUT, steps=3)).train()
    LayoutTrainer(data, tmp_path / "halves", LAYOUT, resume=True).train()
    assert_same_weights(tmp_path / "whole", tmp_path / "halves")


def test_image_training_resumes_exactly_and_packs(data: Path, tmp_path: Path) -> None:
    ImageTrainer(data, tmp_path / "whole", IMAGE).train()
    ImageTrainer(data, tmp_path / "halves", replace(IMAGE, steps=1)).train()
    ImageTrainer(data, tmp_path / "halves", IMAGE, resume=True).train()
    assert_same_weights(tmp_path / "whole", tmp_path / "halves")
    (last,) = log(tmp_path / "whole")
    names = {"pixel", "box", "mask", "patch", "object", "class", "d_patch", "d_object", "d_class_real", "d_class_fake"}
    assert names <= last.keys()

    LayoutTrainer(data, tmp_path / "layout", replace(LAYOUT, steps=1)).train()
    out = tmp_path / "packed" / "small.safetensors"
    runs = ["--layout", str(tmp_path / "layout"), "--image", str(tmp_path / "whole")]
    result = CliRunner().invoke(main, ["train", "pack", *runs, "--out", str(out), "--licence", "test only"])
    assert result.exit_code == 0, result.output
    model = load_weights(out)
    assert model.config.name == "small"
    averaged = weights(tmp_path / "whole")["ema.decoder.heads.0.out.weight"]
    assert torch.equal(model.image_model.decoder.heads[0].out.weight, averaged.half().float())


def test_frozen_statistics_step_freezes_them(data: Path, tmp_path: Path) -> None:
    trainer = ImageTrainer(data, tmp_path / "run", replace(IMAGE, frozen_statistics_step=1))
    trainer.step(0, trainer.prepare(0))
    mean = trainer.model.decoder.stages[0].norm1.running_mean.clone()
    trainer.step(1, trainer.prepare(1))
    assert torch.equal(mean, trainer.model.decoder.stages[0].norm1.running_mean)
    steps = {int(state["step"]) for state in trainer.generating.optimizer.state.values()}
    assert steps == {1}, "Adam starts afresh"


def test_a_run_can_start_from_another_with_more_resolutions(data: Path, tmp_path: Path) -> None:
    ImageTrainer(data, tmp_path / "first", replace(IMAGE, steps=1)).train()
    wider = replace(IMAGE, scales=(64, 128), adversarial_scales=(64, 128), start_from=str(tmp_path / "first"))
    trainer = ImageTrainer(data, tmp_path / "second", wider)
    before = load_checkpoint(tmp_path / "first")["objects"]
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before["model"][name])
    old = before["discriminators"]["patch.64.conv1.weight"]
    assert torch.equal(trainer.discriminators.patch["64"].conv1.weight, old)
    assert "128" in trainer.discriminators.patch


def assert_same_state(a: nn.Module, b: nn.Module) -> None:
    first, second = a.state_dict(), b.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_run_can_start_from_finished_weights_and_be_packed_with_them(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    finished, file = HMEG(SMALL), tmp_path / "finished.safetensors"
    save_weights(finished, file, dtype=torch.float32, metadata={"layout_training": '{"steps": 7}'})
    config = replace(IMAGE, steps=1, start_from=str(file), learning_rate=0.0)
    trainer = ImageTrainer(data, tmp_path / "run", config)
    assert_same_state(trainer.model, finished.image_model)
    trainer.train()
    out = tmp_path / "out.safetensors"
    packed = pack_runs(file, tmp_path / "run", out, white_paper=False)
    assert_same_state(packed.layout_generator, finished.layout_generator)
    recorded = load_weights(out).metadata
    assert recorded["layout_training"] == '{"steps": 7}'
    assert json.loads(recorded["image_training"])["start_from"] == "finished.safetensors"
    assert "layout_temperature" not in recorded
    cooler = pack_runs(file, file, out, white_paper=False, temperature=0.5)
    finished.layout_generator.scale_noise(0.5)
    assert_same_state(cooler.layout_generator, finished.layout_generator)
    assert finished.image_model.glyphs is not None and cooler.image_model.glyphs is not None
    finished.image_model.glyphs.frequency[:, 1] = 0
    save_weights(finished, file, dtype=torch.float32, metadata={"paper": "as it was"})
    emptied = pack_runs(file, file, out)
    pictures = emptied.image_model.glyphs.glyphs.unflatten(0, (-1, SMALL.glyph.modes))
    assert pictures[:, 0].any() and not pictures[:, 1].any()
    assert load_weights(out).metadata["paper"] == "as it was", "it is whitened once"
    pack_runs(file, file, out, temperature=0.5)
    assert load_weights(out).metadata["layout_temperature"] == "0.5"
    pack_runs(out, file, out, temperature=0.5)
    assert load_weights(out).metadata["layout_temperature"] == "0.25"
    other, other_config = tmp_path / "other.safetensors", SMALL.changed(layout={"shared_noise": 3}, glyph={"size": 8})
    save_weights(HMEG(other_config), other)
    with pytest.raises(ValueError, match=r"other\.safetensors holds weights of another configuration"):
        ImageTrainer(data, tmp_path / "second", replace(config, start_from=str(other)))
    assert pack_runs(file, other, out).config == other_config.changed(
        layout={"shared_noise": SMALL.layout.shared_noise}
    )
    assert pack_runs(other, file, out).config == SMALL.changed(layout={"shared_noise": 3})
    assert load_weights(out).config == SMALL.changed(layout={"shared_noise": 3})
    with pytest.raises(ValueError, match="nowhere is neither the folder of a run, nor"):
        pack_runs(file, tmp_path / "nowhere", out)
    with pytest.raises(ValueError, match="nowhere is neither the folder of a run, nor"):
        ImageTrainer(data, tmp_path / "third", replace(config, start_from=str(tmp_path / "nowhere")))


def test_drawing_from_their_own_handwriting(data: Path, tmp_path: Path) -> None:
    config = replace(IMAGE, glyphs="own", steps=2, scales=(64,), adversarial_scales=(64,), learning_rate=1e-3)
    trainer = ImageTrainer(data, tmp_path / "run", config)
    batch, again = trainer.prepare(1), trainer.prepare(1)
    assert batch.glyph_ink is not None and torch.equal(batch.glyph_ink, again.glyph_ink)
    assert batch.glyph_ink.shape == (len(batch.graph.symbols), 32, 32)
    assert trainer.model.glyphs is not None
    before = trainer.model.glyphs.glyphs.detach().clone()
    trainer.train()
    assert torch.equal(before, trainer.model.glyphs.glyphs), "typical pictures are not learned then"
    assert not torch.equal(batch.glyph_ink, trainer.prepare(0).glyph_ink[: len(batch.glyph_ink)])
    emptied = tmp_path / "emptied.safetensors"
    save_weights(HMEG(SMALL), emptied)
    started = ImageTrainer(data, tmp_path / "second", replace(config, start_from=str(emptied)))
    assert started.model.glyphs is not None
    filled = slice(vocabulary.NUM_SYMBOL_CLASSES * SMALL.glyph.modes)
    assert torch.equal(started.model.glyphs.glyphs[filled], before[filled]), "they are those of the data at hand"
    with pytest.raises(ValueError, match="--model base has none"):
        replace(config, model="base")


def test_pictures_become_thinner_thicker_and_blurred() -> None:
    line = torch.zeros(64, 9, 9)
    line[:, 3:6] = 1
    made = varied(line, torch.Generator().manual_seed(0))
    assert made.min() >= 0 and made.max() <= 1
    ink = made.sum(dim=(1, 2)) / 27
    assert ink.min() < 0.9 and ink.max() > 1.5, "between two fifths of a cell less and one and a half more, either side"
    assert made[:, 4].min() > 0.5, "the stroke stays where it was"


def test_training_on_windows_without_critics(data: Path, tmp_path: Path) -> None:
    config = replace(
        IMAGE, window=64, windows_per_expression=3, scales=(64, 128, 256), adversarial_scales=(), pixel_loss="l2"
    )
    trainer = ImageTrainer(data, tmp_path / "run", config)
    batch = trainer.prepare(0)
    windows = batch.windows
    assert windows is not None
    assert windows.side == 16 and len(windows.top) == 6
    assert windows.expression.tolist() == [0, 0, 0, 1, 1, 1]
    for image in windows.cut(trainer.images.take(batch.pixels, 1), 4):
        assert image.shape == (1, 64, 64) and image.min() < 0.5, "a window holds some of its symbol's ink or box"
    trainer.train()
    assert log(tmp_path / "run")[-1]["pixel"] > 0


def test_losses_that_are_not_finite_stop_the_run(data: Path, tmp_path: Path) -> None:
    trainer = LayoutTrainer(data, tmp_path / "run", LAYOUT)
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"step 1: box, .*no checkpoint yet; the batch was .*a") as caught:
        trainer.train()
    assert len(str(caught.value).split("the batch was ")[1].split(", ")) == LAYOUT.batch_size, "names of the batch"
    assert not checkpoints(tmp_path / "run"), "no checkpoint with damaged weights"


def test_a_killed_run_repeats_what_it_had_not_saved(data: Path, tmp_path: Path) -> None:
    config = replace(LAYOUT, steps=40, checkpoint_every=30)
    LayoutTrainer(data, tmp_path / "run", replace(config, steps=30)).train()
    with open(tmp_path / "run" / "losses.jsonl", "a") as file:
        file.write('{"step": 40, "box": 1.0}\n{"step": 4')  # killed after step 40 was logged and before it was saved
    LayoutTrainer(data, tmp_path / "run", config, resume=True).train()
    assert [record["step"] for record in log(tmp_path / "run")] == [20, 30, 40]


def test_a_resumed_run_does_not_need_the_run_it_started_from(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    ImageTrainer(data, first, replace(IMAGE, steps=1)).train()
    config = replace(IMAGE, start_from=str(first))
    ImageTrainer(data, tmp_path / "second", replace(config, steps=1)).train()
    checkpoints(first)[-1].unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"start_from was .*first', now 'second'"):
        ImageTrainer(data, tmp_path / "second", replace(config, start_from="second"), resume=True)
    ImageTrainer(data, tmp_path / "second", replace(config, start_from="./first/"), resume=True).train()
    LayoutTrainer(data, tmp_path / "layout", replace(LAYOUT, steps=1)).train()
    model = pack_runs(tmp_path / "layout", tmp_path / "second", tmp_path / "small.safetensors")
    assert model.config.name == "small"
    recorded = json.loads(load_weights(tmp_path / "small.safetensors").metadata["image_training"])
    assert (recorded["start_from"], recorded["step"]) == ("first", 2), "a name, not a folder of this machine"


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    prepare(write_samples(tmp_path / "source"), tmp_path / "data", RenderSettings(size=64), workers=1)
    with pytest.raises(ValueError, match="--size 256"):
        ImageTrainer(tmp_path / "data", tmp_path / "run", IMAGE)
    with pytest.raises(ValueError, match="no expression of at most 1 symbols"):
        LayoutTrainer(tmp_path / "data", tmp_path / "run", replace(LAYOUT, max_symbols=1))


def test_packing_what_is_no_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.yaml does not hold the settings"):
        pack_runs(tmp_path, tmp_path, tmp_path / "out.safetensors")


def forget_model(run: Path) -> None:
    """A run's last checkpoint as it was before it told of the model."""
    path = checkpoints(run)[-1]
    state = torch.load(path, weights_only=True)
    assert ModelConfig.from_json(state.pop("model")) == SMALL
    torch.save(state, path)


def note_model_of_version_1(run: Path) -> None:
    """A run's last checkpoint as it was before configurations had parts; the bundled weights are of that time."""
    path = checkpoints(run)[-1]
    with safe_open(Path(hmeg.__file__).parent / "weights" / "small.safetensors", framework="pt") as file:
        config = file.metadata()["config"]
    assert "layout_shared_noise" in config
    torch.save({**torch.load(path, weights_only=True), "model": config}, path)


def test_a_run_of_another_version_is_not_gone_on_with(data: Path, tmp_path: Path) -> None:
    config = LayoutTrainingConfig(model="small", steps=1, batch_size=2, device="cpu")
    LayoutTrainer(data, tmp_path / "layout", config).train()
    note_model_of_version_1(tmp_path / "layout")
    assert LayoutTrainer(data, tmp_path / "layout", replace(config, steps=2), resume=True).run.step == 1
    forget_model(tmp_path / "layout")
    with pytest.raises(ValueError, match=r"layout was begun by another version of hmeg, in which 'small' is another"):
        LayoutTrainer(data, tmp_path / "layout", replace(config, steps=2), resume=True)
    joint = JointTrainingConfig(
        model="small", steps=1, batch_size=2, device="cpu", start_layout=str(tmp_path / "layout")
    )
    with pytest.raises(ValueError, match=r"configuration: layout\.shared_noise is 0 there, 32 here"):
        JointTrainer(data, tmp_path / "joint", replace(joint, start_image="small"))


def test_packing_a_run_of_the_other_kind_is_one_line(data: Path, tmp_path: Path) -> None:
    LayoutTrainer(
        data, tmp_path / "layout", LayoutTrainingConfig(model="small", steps=1, batch_size=2, device="cpu")
    ).train()
    with pytest.raises(ValueError, match="layout is a run of `hmeg train layout`; wanted is one of `hmeg train image`"):
        pack_runs(tmp_path / "layout", tmp_path / "layout", tmp_path / "out.safetensors")
    with pytest.raises(ValueError, match="is a run of `hmeg train layout`; wanted is one of `hmeg train joint`"):
        pack_joint_run(tmp_path / "layout", tmp_path / "out.safetensors")
    assert layout_generator_of(tmp_path / "layout")[1] == SMALL
    forget_model(tmp_path / "layout")
    assert layout_generator_of(tmp_path / "layout")[1] == SMALL.changed(layout={"shared_noise": 0})
    settings = tmp_path / "layout" / "config.yaml"
    settings.write_text(settings.read_text().replace("model: small", "model: base"))
    with pytest.raises(ValueError, match="holds no weights of this model") as caught:
        layout_generator_of(tmp_path / "layout")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_an_existing_run_is_never_overwritten_by_chance(data: Path, tmp_path: Path) -> None:
    arguments = ["train", "layout", "--data", str(data), "--out", str(tmp_path / "run"), "--model", "small"]
    arguments += ["--steps", "1", "--batch-size", "3"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1 and "--resume" in again.output
    other = CliRunner().invoke(main, [*arguments, "--resume", "--learning-rate", "0.5"])
    assert other.exit_code == 1 and "learning_rate was" in other.output
    checkpoints(tmp_path / "run")[-1].write_bytes(b"rubbish")
    broken = CliRunner().invoke(main, [*arguments, "--resume"])
    assert broken.exit_code == 1 and "checkpoint-00000001.pt" in broken.output and "Traceback" not in broken.output


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--scales", "64,abc"], "64,128,256"),
        (["--scales", "100"], "resolutions"),
        (["--scales", "64"], "--adversarial-scales"),
        (["--model", "huge"], "huge"),
        (["--window", "50"], "multiple of 16"),
        (["--window", "64"], "see 16 pixels"),
        (["--batch-size", "0"], "--batch-size"),
        (["--checkpoint-every", "0"], "--checkpoint-every"),
        (["--seed", "-1"], "--seed"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_bad_options_are_named(data: Path, tmp_path: Path, extra: list[str], message: str) -> None:
    arguments = ["train", "image", "--data", str(data), "--out", str(tmp_path / "run"), "--model", "small"]
    result = CliRunner().invoke(main, [*arguments, *extra])
    assert result.exit_code in (1, 2) and message in result.output and "Traceback" not in result.output


def test_compiled_networks_learn_the_same(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured by torch.compile, but run by its eager backend: generating code would take most of a minute."""
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    plain, compiled = (
        ImageTrainer(data, tmp_path / name, replace(IMAGE, batch_size=2, compile=name == "compiled"))
        for name in ("plain", "compiled")
    )
    assert compiled.model.decoder._compiled_call_impl is not None
    for step in range(2):
        expected, found = (trainer.step(step, trainer.prepare(step)) for trainer in (plain, compiled))
        for name in ("pixel", "patch", "d_patch"):
            assert found[name].item() == pytest.approx(expected[name].item(), rel=1e-3), name
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
