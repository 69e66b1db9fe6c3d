"""Weight files: what is saved comes back; whatever else is in a file is refused by name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hmeg.model import HMEG, ModelConfig
from hmeg.model.checkpoint import FORMAT, load_weights, save_weights, weights_id

TINY = ModelConfig(
    name="tiny",
    image_size=32,
    image_channels=1,
    embedding_dim=6,
    gconv_dim=5,
    gconv_hidden_dim=7,
    gconv_num_layers=2,
    refinement_dims=(8, 6, 4),
    layout_noise_dim=2,
    mask_hidden_dim=3,
    mask_size=8,
    box_coordinates=True,
    layout_embedding_dim=6,
    layout_hidden_dim=9,
    layout_num_layers=2,
    box_noise_dim=4,
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


LATER = ("glyph_hooks", "glyph_fit", "layout_shared_noise")


def test_files_from_before_a_field_was_added_keep_their_id_and_digest(model: HMEG, saved: Path) -> None:
    """Written without the fields, as older releases did, and with a digest over the fields they had."""
    with safe_open(saved, framework="pt") as file:
        header = file.metadata()
    config = json.loads(header["config"])
    older = {name: value for name, value in config.items() if name not in LATER}
    assert len(older) == len(config) - len(LATER)
    tensors = load_file(saved)
    digest = hashlib.sha256(json.dumps(older, sort_keys=True).encode())
    for key, value in sorted(tensors.items()):
        value = value.float() if value.is_floating_point() else value
        digest.update(f"{key} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.numpy().tobytes())
    free = json.dumps({"licence": "MIT", "steps": "7"}, sort_keys=True)
    whole = hashlib.sha256(f"{digest.hexdigest()} {free}".encode()).hexdigest()
    save_file(tensors, saved, metadata={**header, "config": json.dumps(older), "digest": whole})
    loaded = load_weights(saved)
    assert loaded.config == TINY and loaded.weights_id == digest.hexdigest()[:12]
    assert weights_id(HMEG(dataclasses.replace(TINY, glyph_hooks=True))) != weights_id(HMEG(TINY))
    assert weights_id(HMEG(dataclasses.replace(TINY, layout_shared_noise=1))) != weights_id(HMEG(TINY))


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
        ('{"gconv_dim": "wide"}', "gconv_dim"),
        ('{"gconv_dim": true}', "gconv_dim"),
        ('{"gconv_dim": 1000000000000}', "gconv_dim"),
        ('{"gconv_num_layers": 100000}', "gconv_num_layers"),
        ('{"refinement_dims": 3}', "refinement_dims"),
        ('{"refinement_dims": [1, 2]}', "refinement_dims"),
        ('{"image_size": 100}', "image_size"),
        ('{"mask_size": 32}', "mask_size"),
        ('{"name": ""}', "name"),
        ('{"box_coordinates": 1}', "box_coordinates"),
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
    for name in ("base", "small"):
        assert ModelConfig.named(name).name == name
    with pytest.raises(ValueError, match="'huge'"):
        ModelConfig.named("huge")
