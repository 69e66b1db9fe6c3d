"""Checkpoints of the authors and our own load; foreign, damaged and misfitting ones are refused by name."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from hmeg.recognition import CanConfig, Preparation, load
from hmeg.recognition.checkpoint import Facts, save
from hmeg.recognition.model import CAN
from hmeg.recognition.words import Words, default_words
from tests.support.can_samples import tiny_config

WORDS = Words(["eos", "sos", *(f"w{n}" for n in range(20))])
WAY_OUT = "give a run of `hmeg train can`, its best.pt or last.pt, or a checkpoint of CAN's authors"


@pytest.fixture(scope="module")
def model() -> CAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CAN(tiny_config(len(WORDS)))


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words_dict.txt"
    path.write_text("\n".join(WORDS.words))
    return path


def write(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_the_authors_form(model: CAN, tmp_path: Path, words: Path) -> None:
    for prefix in ("", "module."):
        state = {prefix + name: value for name, value in model.state_dict().items()}
        content = {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 1}]}}
        loaded = load(write(tmp_path / "authors.pth", content), "cpu", words)
        assert loaded.words == WORDS
        assert loaded.preparation == Preparation()
        assert loaded.model.config.growth == model.config.growth
        for name, value in loaded.model.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), name
        assert not loaded.model.training
    with pytest.raises(ValueError, match=r"authors\.pth holds no dictionary.*--words"):
        load(tmp_path / "authors.pth", "cpu")


def test_the_published_sizes_are_recognised(tmp_path: Path) -> None:
    """By shapes alone: a file of the full network would take seconds."""
    from hmeg.recognition.checkpoint import _config

    config = CanConfig()
    with torch.device("meta"):
        found = _config(CAN(config).state_dict(), tmp_path)
    assert found == config


def test_our_own_form(model: CAN, tmp_path: Path, words: Path) -> None:
    path = tmp_path / "deep" / "last.pt"
    save(path, model, Facts(WORDS, Preparation(4, 2)))
    for found in (load(path, "cpu"), load(path.parent, "cpu"), load(path, "cpu", words)):
        assert found.words == WORDS
        assert found.preparation == Preparation(4, 2)
    (tmp_path / "other.txt").write_text("\n".join(default_words().words))
    with pytest.raises(ValueError, match=r"holds a dictionary of its own, and .*other\.txt is another"):
        load(path, "cpu", tmp_path / "other.txt")
    with pytest.raises(ValueError, match="holds no checkpoint of hmeg train can"):
        load(tmp_path, "cpu")


class _Runs:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("harm",)


def test_what_is_no_checkpoint_is_refused(
    model: CAN, tmp_path: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = model.state_dict()
    own = {"model": state, **Facts(WORDS, Preparation()).state_dict()}
    fewer = {name: value for name, value in state.items() if name != "decoder.word_convert.bias"}
    other = {**state, "decoder.init_weight.weight": torch.zeros(3, 3)}
    for content, problem in (
        ({"model": _Runs()}, "refused"),
        ({"weights": state}, "no tensors by name under the key 'model'"),
        ({"model": {}}, "no tensors by name"),
        ({"model": {"a": 1}}, "no tensors by name"),
        (
            {"model": {"a": torch.zeros(3)}},
            r"CAN: decoder.embedding.weight is missing .*; give a run of `hmeg train can`",
        ),
        ({"model": {**state, "decoder.embedding.weight": torch.zeros(3)}}, "of another shape"),
        ({"model": {**state, "decoder.encoder_feature_conv.weight": torch.zeros(3, 1, 1, 1)}}, "multiple of 4"),
        ({"model": fewer}, "do not fit together.*word_convert.bias"),
        ({"model": other}, "do not fit together.*init_weight.weight"),
        ({**own, "words": ["eos", "sos", "a"]}, "knows 22 words, its dictionary has 3"),
        ({**own, "words": None}, "is damaged"),
        ({**own, "preparation": {"turn": 3}}, "is damaged"),
        ({"objects": {"model": 3}}, "no tensors by name"),
        ([state], "must be a dict"),
    ):
        path = write(tmp_path / "foreign.pt", content)
        with pytest.raises(ValueError, match=problem) as caught:
            load(path, "cpu", None if "words" in content else words)
        assert "foreign.pt" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()
    short = tmp_path / "short.txt"
    short.write_text("eos\nsos\na\n")
    with pytest.raises(ValueError, match=r"knows 22 words, .*short\.txt has 3"):
        load(write(tmp_path / "a.pt", {"model": state}), "cpu", short)
    with pytest.raises(ValueError, match=r"none\.pt: No such file or directory; give a run of `hmeg train can`"):
        load(tmp_path / "none.pt", "cpu")


@pytest.mark.filterwarnings("error")
def test_files_of_other_kinds_are_called_what_they_are(model: CAN, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    image = np.full((9, 9), 255, np.uint8)

    def pickled(protocol: int) -> bytes:
        return pickle.dumps({"a": image}, protocol)

    def kept(save_to: Callable[[io.BytesIO], object]) -> bytes:
        target = io.BytesIO()
        save_to(target)
        return target.getvalue()

    def tar(target: io.BytesIO) -> None:
        with tarfile.open(fileobj=target, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.txt"))

    def zipped(target: io.BytesIO) -> None:
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("data/train/caption.txt", "a x")

    weights = {"model": {"a": torch.zeros(2)}}
    whole = kept(lambda target: torch.save({"model": model.state_dict()}, target))
    for content, problem in (
        (b"", "an empty file"),
        (b"eos\nsos\nx\n", "text"),
        ("é".encode() * 300, "text"),
        (bytes(100), "of a kind that is not known here"),
        (np.random.default_rng(0).bytes(3000), "of a kind that is not known here"),
        (kept(lambda target: Image.fromarray(image).save(target, format="PNG")), "a PNG image"),
        (kept(lambda target: Image.fromarray(image).save(target, format="JPEG")), "a JPEG image"),
        (gzip.compress(b"hallo"), "a gzip file"),
        (kept(lambda target: np.save(target, image)), "a NumPy array"),
        (kept(lambda target: np.savez(target, image)), "a zip archive that torch.save did not write"),
        (kept(zipped), "a zip archive that torch.save did not write"),
        (kept(tar), "a tar archive"),
        (safetensors.torch.save({"a": torch.zeros(2)}), "a safetensors file"),
        (pickled(4), "a pickle of protocol 4"),
        (pickled(5), "a pickle of protocol 5"),
        (pickled(3), "it asks for numpy"),
        (pickle.dumps({"a": 1}, 2), "Invalid magic number"),
        (
            kept(lambda target: torch.save(weights, target, pickle_protocol=4)),
            "save it again with torch.save's default",
        ),
        (whole[: len(whole) // 2], "its archive is damaged, or breaks off"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(problem)) as caught:
            load(path, "cpu")
        told = str(caught.value)
        assert told.startswith(str(path)) and "\n" not in told and len(told) < 400, told
        assert told.endswith(
            "; give a run of `hmeg train can`, its best.pt or last.pt, or a checkpoint of CAN's authors"
        )


def test_truncated_and_changed_files_are_refused(model: CAN, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save(path, model, Facts(WORDS, Preparation()))
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"last\.pt"):
            load(path, "cpu")
    for _ in range(20):
        changed = bytearray(whole)
        for place in random.integers(0, min(4000, len(whole)), 30):
            changed[place] = random.integers(256)
        path.write_bytes(bytes(changed))
        with pytest.raises(ValueError, match=r"last\.pt"):
            load(path, "cpu")
