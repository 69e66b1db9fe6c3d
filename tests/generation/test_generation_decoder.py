"""Drawing with an exported decoder: which file goes with what, and that labels and images stay torch's."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import hmeg
from hmeg.cli import main
from hmeg.cli.generate import command
from hmeg.export.decoder_part import DecoderPart
from hmeg.export.metadata import ExportMetadata
from hmeg.export.runtime import RUNTIMES
from hmeg.generation.decoder_file import KINDS, DecoderFile, kind_of
from hmeg.generation.manifest import MANIFEST, Manifest
from hmeg.model.checkpoint import load_weights
from tests.support.tiny_model import TINY, save_tiny

CONFIG = TINY.changed(image={"box_coordinates": True, "symbol_channels": 3}, glyph={"channels": 2, "modes": 4})


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors", CONFIG)


class TorchRuntime:
    """A runtime that computes in torch."""

    device = torch.device("cpu")

    def __init__(self, model, **changes):
        self.metadata = dataclasses.replace(
            ExportMetadata(model.weights_id, model.config, "decoder", "fp32"), **changes
        )
        self._part = DecoderPart(model)

    def decode(self, layout, noise, glyphs=None):
        return dict(zip(self.metadata.sizes, self._part(layout, noise, glyphs), strict=True))


def decoder_file(weights: Path, **changes) -> DecoderFile:
    return DecoderFile("x.pt2", TorchRuntime(load_weights(weights), **changes), "aoti 0123456789ab")


def invoke(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_samples_are_those_of_torch(weights):
    plain = hmeg.Generator(load_weights(weights), "cpu", "tiny")
    other = hmeg.Generator(load_weights(weights), "cpu", "tiny", decoder=decoder_file(weights))
    assert (plain.runtime, other.runtime) == ("torch", "aoti 0123456789ab")
    for size in (16, 40, 64):
        for once, again in zip(plain(["x^2", r"\frac{a}{b}"], seed=2, size=size),
                               other(["x^2", r"\frac{a}{b}"], seed=2, size=size), strict=True):  # fmt: skip
            assert once.label() == again.label()
            assert abs(once.array.astype(int) - again.array).max() <= 1
            assert len(set(once.array.flat)) > 10


def test_a_decoder_must_be_of_the_weights(weights):
    model = load_weights(weights)

    def refused(message: str, precision: str = "float32", **changes: object) -> None:
        with pytest.raises(ValueError, match=rf"^x\.pt2: {message}"):
            hmeg.Generator(model, "cpu", "tiny", precision, decoder_file(weights, **changes))

    refused(f"made from weights 0123456789ab, and tiny are {model.weights_id}", weights_id="0123456789ab")
    refused("holds the part 'full'; drawing needs one of --part decoder", part="full")
    refused("computes in float32, not in bfloat16", precision="bfloat16")
    given = decoder_file(weights, precision="bf16")
    assert hmeg.Generator(model, "cpu", "tiny", decoder=given).precision == "bfloat16"
    assert hmeg.Generator(model, "cpu", "tiny", "bfloat16", given).precision == "bfloat16"


def test_kinds_of_files():
    assert set(KINDS) == set(RUNTIMES)
    (option,) = (parameter for parameter in command.params if parameter.name == "runtime")
    assert list(option.type.choices) == ["torch", *KINDS.values()]
    assert kind_of("a/b.engine") == "tensorrt"
    assert kind_of("small") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runtime", "onnx"), "--decoder FILE.onnx; `hmeg export onnx` makes one"),
        (("--runtime", "tensorrt"), "--decoder FILE.engine; `hmeg export tensorrt` makes one"),
        (("--decoder", "x.bin"), "--decoder must be a file that ends in .onnx, .pt2, .engine, got x.bin"),
        (("--decoder", "x.pt2", "--runtime", "onnx"), "x.pt2 is run by aoti, not by onnx; leave out --runtime"),
        (("--decoder", "x.pt2", "--runtime", "torch"), "x.pt2 is run by aoti, not by torch"),
        (("--weights", "x.pt2", "--runtime", "tensorrt"), "x.pt2 is run by aoti, not by tensorrt"),
        (("--decoder", "none.pt2"), "does not exist"),
    ],
)
def test_usage(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    for name in ("x.bin", "x.pt2"):
        Path(name).write_bytes(b"?")
    refused = invoke("generate", "--latex", "x", "--out", "out", *arguments)
    assert refused.exit_code == 2
    assert message in " ".join(refused.output.split())
    assert not Path("out").exists()


def test_runs_of_before_say_nothing_of_a_runtime_and_go_on(weights, tmp_path):
    drawing = ("generate", "--latex", "x", "--weights", weights, "--size=64", "--device=cpu", "--out", tmp_path)
    assert invoke(*drawing).exit_code == 0
    values = json.loads((tmp_path / MANIFEST).read_text())
    assert values["settings"].pop("runtime") == "torch"
    (tmp_path / MANIFEST).write_text(json.dumps(values))
    assert Manifest.load(tmp_path).settings.runtime == "torch"
    again = invoke(*drawing, "--runtime", "torch")
    assert again.exit_code == 0, again.output
    assert "holds this run already" in again.output


@pytest.mark.slow
def test_a_run_by_onnxruntime(weights, tmp_path):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library, reason="needs hmeg[onnx]")
    from hmeg.export.onnx_export import export_onnx

    exported = tmp_path / "tiny.onnx"
    export_onnx(load_weights(weights), exported)
    drawing = ("generate", "--latex", r"\frac{a}{b}", "--weights", weights, "--size=64", "--device=cpu")
    for name, how in (("torch", ()), ("onnx", ("--decoder", exported, "--runtime", "onnx"))):
        drawn = invoke(*drawing, *how, "--out", tmp_path / name)
        assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "torch" / "labels.jsonl").read_bytes() == (tmp_path / "onnx" / "labels.jsonl").read_bytes()
    mixed = invoke(*drawing, "--out", tmp_path / "onnx")
    assert mixed.exit_code == 1
    assert "(runtime onnx " in mixed.output and ", not torch)" in mixed.output
