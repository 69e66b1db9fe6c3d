"""Weight files: what is saved comes back; whatever else is in a file is refused by name."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hmeg.model import HMEG, ImageConfig, LayoutConfig, ModelConfig
from hmeg.model.checkpoint import FORMAT, load_weights, save_weights, weights_id

TINY = ModelConfig(
    name="tiny",
    layout=LayoutConfig(embedding_dim=6, hidden_dim=9, num_layers=2, noise_dim=4),
    image=ImageConfig(
        size=32,
        channels=1,
        embedding_dim=6,
        gconv_dim=5,
        gconv_hidden_dim=7,
        gconv_num_layers=2,
        refinement_dims=(8, 6, 4),
        noise_dim=2,
        mask_hidden_dim=3,
        mask_size=8,
        box_coordinates=True,
    ),
)


@pytest.fixture
def model() -> HMEG:
    torch.manual_seed(0)
    return HMEG(TINY)


@pytest.fixture
def saved(model: HMEG, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(model, path, metadata={"licence": "MIT", "steps": "7"})
    return path


def test_round_trip_in_float16(model: HMEG, saved: Path) -> None:
    loaded = load_weights(saved)
    assert loaded.config == TINY
    assert loaded.metadata == {"licence": "MIT", "steps": "7"}
    assert not loaded.training
    assert all(p.requires_grad for p in loaded.parameters())
    want = model.state_dict()
    assert loaded.state_dict().keys() == want.keys()
    for key, value in loaded.state_dict().items():
        expected = want[key] if "running_" in key or not want[key].is_floating_point() else want[key].half().float()
        assert value.dtype == want[key].dtype
        assert torch.equal(value, expected), key
    assert sorted(p.name for p in saved.parent.iterdir()) == [saved.name]


def test_round_trip_in_float32_is_exact(model: HMEG, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "w", dtype=torch.float32)
    loaded = load_weights(tmp_path / "w")
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in model.state_dict().items())
    assert loaded.weights_id == weights_id(model)


# As releases wrote TINY before configurations had parts: all fields, and those of the first release.
VERSION_1 = json.loads(
    """{"name": "tiny", "image_size": 32, "image_channels": 1, "embedding_dim": 6, "gconv_dim": 5,
    "gconv_hidden_dim": 7, "gconv_num_layers": 2, "refinement_dims": [8, 6, 4], "layout_noise_dim": 2,
    "mask_hidden_dim": 3, "mask_size": 8, "box_coordinates": true, "symbol_channels": 0, "glyph_channels": 0,
    "glyph_size": 24, "glyph_modes": 1, "glyph_hooks": false, "glyph_fit": false, "layout_embedding_dim": 6,
    "layout_hidden_dim": 9, "layout_num_layers": 2, "box_noise_dim": 4, "layout_shared_noise": 0, "layout_prior": false,
    "layout_kaiming_init": false}"""
)
LATER = ("glyph_hooks", "glyph_fit", "layout_shared_noise")
FIRST = {name: value for name, value in VERSION_1.items() if name not in LATER}


@pytest.mark.parametrize("older", [VERSION_1, FIRST], ids=["last", "first"])
def test_files_of_older_releases_keep_their_id_and_digest(model: HMEG, saved: Path, older: dict[str, Any]) -> None:
    """Their digest is one over the fields of the first release, as the others are at their defaults."""
    with safe_open(saved, framework="pt") as file:
        header = file.metadata()
    assert json.loads(header["config"])["version"] == 2
    tensors = load_file(saved)
    digest = hashlib.sha256(json.dumps(FIRST, sort_keys=True).encode())
    for key, value in sorted(tensors.items()):
        value = value.float() if value.is_floating_point() else value
        digest.update(f"{key} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.numpy().tobytes())
    free = json.dumps({"licence": "MIT", "steps": "7"}, sort_keys=True)
    whole = hashlib.sha256(f"{digest.hexdigest()} {free}".encode()).hexdigest()
    save_file(tensors, saved, metadata={**header, "config": json.dumps(older), "digest": whole})
    loaded = load_weights(saved)
    assert loaded.config == TINY and loaded.weights_id == digest.hexdigest()[:12]
    assert weights_id(HMEG(TINY.changed(glyph={"hooks": True}))) != weights_id(HMEG(TINY))
    assert weights_id(HMEG(TINY.changed(layout={"shared_noise": 1}))) != weights_id(HMEG(TINY))


def test_weights_id_depends_on_weights_only(saved: Path, tmp_path: Path) -> None:
    loaded = load_weights(saved)
    assert loaded.weights_id == weights_id(loaded)
    assert len(loaded.weights_id or "") == 12
    save_weights(loaded, tmp_path / "again", metadata={"other": "words"})
    assert load_weights(tmp_path / "again").weights_id == loaded.weights_id
    with torch.no_grad():
        loaded.image_model.box_head.out.bias[0] += 0.25
    save_weights(loaded, tmp_path / "changed")
    assert load_weights(tmp_path / "changed").weights_id != loaded.weights_id


def test_unusable_weights_are_not_saved(model: HMEG, tmp_path: Path) -> None:
    with torch.no_grad():
        model.image_model.box_head.out.bias[0] = 1e6
    with pytest.raises(ValueError, match=r"image_model\.box_head\.out\.bias is not finite, or too large"):
        save_weights(model, tmp_path / "w")
    with pytest.raises(ValueError, match="metadata"):
        save_weights(model, tmp_path / "w", metadata={"config": "{}"})
    assert not list(tmp_path.iterdir())


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_weights(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.2, 0.5, 0.999])
def test_truncated_file(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"tiny\.safetensors: "):
        load_weights(saved)


def test_a_flipped_bit_anywhere_is_noticed(saved: Path) -> None:
    content = saved.read_bytes()
    data_start = 8 + int.from_bytes(content[:8], "little")
    places = [0, 3, 7, 8, 20, 60, 300, data_start - 40, data_start + 1, (data_start + len(content)) // 2]
    for place in (*places, len(content) - 1):
        broken = bytearray(content)
        broken[place] ^= 0x10
        saved.write_bytes(bytes(broken))
        with pytest.raises(ValueError, match=r"tiny\.safetensors: "):
            load_weights(saved)


def test_changed_metadata_is_noticed(saved: Path) -> None:
    _rewrite(saved, licence="GPL")
    with pytest.raises(ValueError, match=r"tiny\.safetensors: corrupt"):
        load_weights(saved)


def _rewrite(path: Path, **metadata: str) -> None:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        header = dict(file.metadata())
    save_file(load_file(path), path, metadata={**header, **metadata})


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=r"other\.safetensors: .*not one of hmeg's weights"):
        load_weights(path)
    save_file({"a": torch.ones(2)}, path, metadata={"format": FORMAT})
    with pytest.raises(ValueError, match=r"other\.safetensors: model configuration"):
        load_weights(path)
    path.write_bytes(b"PK\x03\x04 not safetensors at all, but long enough for a header")
    with pytest.raises(ValueError, match=r"other\.safetensors: not a readable weight file"):
        load_weights(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ('{"depth": 3}', "unknown fields: depth"),
        ('{"version": 2, "depth": 3, "image": {"width": 3}}', r"unknown fields: depth, image\.width"),
        ('{"version": 2, "gconv_dim": 8}', "unknown fields: gconv_dim"),
        ('{"version": 3}', "version 3"),
        ('{"image": {"gconv_dim": 8}}', "no version: image"),
        ('{"version": 2, "image": 8}', "image must be a JSON object"),
        ('{"gconv_dim": "wide"}', r"image\.gconv_dim"),
        ('{"version": 2, "image": {"gconv_dim": "wide"}}', r"image\.gconv_dim"),
        ('{"gconv_dim": true}', r"image\.gconv_dim"),
        ('{"gconv_dim": 1000000000000}', r"image\.gconv_dim"),
        ('{"gconv_num_layers": 100000}', r"image\.gconv_num_layers"),
        ('{"layout_num_layers": 0}', r"layout\.num_layers"),
        ('{"layout_shared_noise": 65}', r"layout\.shared_noise 65"),
        ('{"refinement_dims": 3}', r"image\.refinement_dims"),
        ('{"refinement_dims": [1, 2]}', r"image\.refinement_dims"),
        ('{"image_size": 100}', r"image\.size"),
        ('{"mask_size": 32}', r"image\.mask_size"),
        ('{"version": 2, "glyph": {"size": 9, "hooks": true}}', r"glyph\.size"),
        ('{"name": ""}', "name"),
        ('{"box_coordinates": 1}', r"image\.box_coordinates"),
        ("{}", "corrupt"),
    ],
)
def test_bad_configuration(saved: Path, config: str, message: str) -> None:
    _rewrite(saved, config=config)
    with pytest.raises(ValueError, match=rf"tiny\.safetensors: .*{message}"):
        load_weights(saved)


def test_weights_that_do_not_fit_are_listed(model: HMEG, saved: Path, tmp_path: Path) -> None:
    # a consistent digest, but another network: the file's own configuration is what the weights must fit
    model.config = ModelConfig.from_json(TINY.to_json().replace('"gconv_dim": 5', '"gconv_dim": 4000'))
    save_weights(model, tmp_path / "odd")
    with pytest.raises(ValueError, match=r"odd: weights do not fit .*is \(5, 7\), not \(4000, 7\)"):
        load_weights(tmp_path / "odd")


def test_configuration_round_trip() -> None:
    assert ModelConfig.from_json(TINY.to_json()) == TINY
    assert ModelConfig.from_json(json.dumps(VERSION_1)) == ModelConfig.from_json(json.dumps(FIRST)) == TINY
    assert ModelConfig.from_json("{}") == ModelConfig.from_json('{"version": 2}') == ModelConfig.named("base")
    for name in ("base", "small"):
        assert ModelConfig.named(name).name == name
    with pytest.raises(ValueError, match="'huge'"):
        ModelConfig.named("huge")


def test_names_of_before_there_were_parts_are_still_read() -> None:
    for name, value in VERSION_1.items():
        if name == "name":
            continue
        with pytest.warns(DeprecationWarning, match=rf"config\.{name} is config\.(layout|image|glyph)\."):
            held = getattr(TINY, name)
        assert held == (tuple(value) if isinstance(value, list) else value)
    with pytest.raises(AttributeError, match="depth"):
        _ = TINY.depth
    assert pickle.loads(pickle.dumps(TINY)) == copy.deepcopy(TINY) == TINY


def test_a_part_changes_by_itself() -> None:
    changed = TINY.changed("other", layout={"num_layers": 3}, glyph={"channels": 2})
    assert (changed.name, changed.layout.num_layers, changed.glyph.channels) == ("other", 3, 2)
    assert changed.image == TINY.image
    assert changed.with_layout_of(TINY).layout == TINY.layout
    with pytest.raises(ValueError, match="image must be of type ImageConfig"):
        ModelConfig(image=LayoutConfig())
