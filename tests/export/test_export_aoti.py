"""AOTInductor packages: compiled here, they draw what torch draws; what is not ours or not for here is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import hmeg
from hmeg.cli import main
from hmeg.export.aoti import build, package, runtime
from hmeg.export.aoti.package import read_package
from hmeg.export.aoti.processor import Processor, relevant
from hmeg.export.aoti.runtime import AotiRuntime
from hmeg.export.decoder_part import DecoderPart, example_inputs
from hmeg.model.checkpoint import load_weights
from tests.support.tiny_model import TINY, save_tiny, tiny_model

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler"),
    pytest.mark.xdist_group("aoti"),  # one process, for the package is compiled once a process
]

# With all that `small` has and `base` has not: box coordinates, symbol vectors, glyphs.
CONFIG = TINY.changed(image={"box_coordinates": True, "symbol_channels": 3}, glyph={"channels": 2, "modes": 4})
CPU = torch.device("cpu")
LARGEST_BATCH = 4


def invoke(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors", CONFIG)


@pytest.fixture(scope="module")
def compiled(weights) -> Path:
    """Compiled once, by the command, for all tests: it takes a while."""
    out = weights.parent / "tiny.pt2"
    made = invoke("export", "aoti", "--weights", weights, "--out", out, "--largest-batch", LARGEST_BATCH)
    assert made.exit_code == 0, made.output
    assert f"{out}: decoder of tiny@" in made.output
    return out


def test_images_are_torchs(compiled, weights):
    drawn_by = AotiRuntime(compiled, CPU)
    model = load_weights(weights)
    assert drawn_by.metadata.weights_id == model.weights_id
    assert drawn_by.metadata.config == model.config
    assert (drawn_by.metadata.part, drawn_by.metadata.precision) == ("decoder", "fp32")
    assert drawn_by.metadata.licence == "none, random numbers"
    part = DecoderPart(model)
    for batch in (1, LARGEST_BATCH, LARGEST_BATCH + 3):  # the last in two parts
        inputs = example_inputs(CONFIG, batch, seed=batch)
        images = drawn_by.decode(**inputs)
        assert list(images) == list(CONFIG.resolutions)
        for image, wanted in zip(images.values(), part(**inputs), strict=True):
            assert image.shape == wanted.shape
            assert float(wanted.std()) > 0.002
            torch.testing.assert_close(image, wanted, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="this decoder reads layout, noise, glyphs"):
        drawn_by.decode(inputs["layout"], inputs["noise"])


def test_a_run_draws_with_it(compiled, weights, tmp_path):
    drawing = ("generate", "--latex", "x^2 + 1", "--latex", r"\frac{a}{b}", "--size=64", "--seed=3", "--device=cpu")
    torchs = invoke(*drawing, "--weights", weights, "--out", tmp_path / "torch")
    assert torchs.exit_code == 0, torchs.output
    its = invoke(*drawing, "--weights", weights, "--decoder", compiled, "--runtime", "aoti", "--out", tmp_path / "aoti")
    assert its.exit_code == 0, its.output
    labels = [(tmp_path / kind / "labels.jsonl").read_bytes() for kind in ("torch", "aoti")]
    assert labels[0] == labels[1]
    settings = json.loads((tmp_path / "aoti" / "manifest.json").read_text())["settings"]
    assert settings["runtime"].startswith("aoti ")
    (once,), (again,) = (
        hmeg.load(weights, "cpu", decoder=decoder)(r"\frac{a}{b}", seed=3, size=64) for decoder in (None, compiled)
    )
    assert abs(once.array.astype(int) - again.array).max() <= 1
    assert once.label() == again.label()
    assert len(set(once.array.flat)) > 20

    mixed = invoke(*drawing, "--weights", weights, "--out", tmp_path / "aoti")
    assert mixed.exit_code == 1
    assert f"(runtime {settings['runtime']}, not torch)" in mixed.output


def test_other_weights_are_refused(compiled, tmp_path):
    other = save_tiny(tmp_path / "other.safetensors", dataclasses.replace(CONFIG, name="other"))
    refused = invoke("generate", "--latex", "x", "--out", tmp_path / "out", "--weights", other, "--decoder", compiled)
    assert refused.exit_code == 1
    assert "made from weights" in refused.output and "and other are" in refused.output
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"tiny\.pt2: made from weights \w+, which are not bundled .* give their file"):
        hmeg.load(compiled, "cpu")
    with pytest.raises(ValueError, match=r"tiny\.pt2: an exported decoder, not weights"):
        hmeg.load(compiled, "cpu", decoder=compiled)
    with pytest.raises(ValueError, match=r"computes in float32, not in bfloat16"):
        hmeg.load(compiled.with_name("tiny.safetensors"), "cpu", "bfloat16", compiled)


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def pack(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def unloadable(monkeypatch) -> None:
    """A test fails if a refused file reaches torch."""

    def load(*arguments: object, **keywords: object) -> None:
        raise AssertionError("torch was asked to load it")

    monkeypatch.setattr(torch._inductor, "aoti_load_package", load)


@pytest.mark.usefixtures("unloadable")
def test_damaged_and_foreign_files_are_refused(compiled, tmp_path):
    content, contents = compiled.read_bytes(), entries(compiled)
    own = next(name for name in contents if name.endswith("hmeg.json"))
    library = next(name for name in contents if name.endswith(".so"))
    path = tmp_path / "x.pt2"

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=rf"x\.pt2: .*{message}"):
            AotiRuntime(path, CPU)

    with pytest.raises(FileNotFoundError, match=r"x\.pt2: no such file"):
        AotiRuntime(path, CPU)
    for start in (b"", b"not a zip", content[: len(content) // 2]):
        path.write_bytes(start)
        refused("not a readable package, truncated or corrupt")
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    refused("corrupt")
    pack(path, {})
    refused("not a package of `hmeg export aoti`")
    pack(path, {name: value for name, value in contents.items() if name != own})
    refused("not a package of `hmeg export aoti`")
    pack(path, {**contents, library: contents[library] + b"!"})
    refused("is not what was packed")
    pack(path, {**contents, "decoder/data/aotinductor/model/more.so": b"code"})
    refused("its entries are not those that were packed")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("decoder/extra/hmeg.json", contents[own])
    refused("is compressed or encrypted")
    for changed in (b"{", b"[]", b"{}", json.dumps({**json.loads(contents[own]), "format": "hmeg-aoti-0"}).encode()):
        pack(path, {**contents, own: changed})
        refused("says of itself what this version of hmeg cannot read")


@pytest.mark.usefixtures("unloadable")
@pytest.mark.parametrize("name", ["../evil.so", "decoder/../../evil.so", "/evil.so", "decoder\\..\\evil.so", "c:evil"])
def test_names_that_lead_out_are_refused(compiled, tmp_path, name):
    path = pack(tmp_path / "x.pt2", {**entries(compiled), name: b"code"})
    with pytest.raises(ValueError, match="leads out of it; not loaded"):
        AotiRuntime(path, CPU)


@pytest.mark.usefixtures("unloadable")
def test_other_machines_are_refused(compiled, monkeypatch):
    with pytest.raises(ValueError, match="compiled for cpu, not for cuda"):
        AotiRuntime(compiled, torch.device("cuda"))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "1.13.0+cpu")
        with pytest.raises(ValueError, match=r"compiled with torch .*, and here is 1\.13\.0"):
            AotiRuntime(compiled, CPU)
    here = Processor.here()
    weaker = dataclasses.replace(here, features=here.features[1:])
    monkeypatch.setattr(runtime.Processor, "here", lambda: weaker)
    with pytest.raises(ValueError, match=f"what this one lacks: {here.features[0]}; `hmeg export aoti` compiles one"):
        AotiRuntime(compiled, CPU)


def test_processors_are_compared_by_instruction_sets(tmp_path):
    text = "processor\t: 0\nflags\t\t: fpu avx2 hypervisor smep amx_tile avx\nflags\t\t: nothing\n"
    (tmp_path / "cpuinfo").write_text(text)
    one = Processor.here(tmp_path / "cpuinfo")
    assert one.features == ("amx_tile", "avx", "avx2")
    assert relevant(["sse2", "fpu", "asimd"]) == ("asimd", "sse2")
    assert one.missing(one) == ""
    assert one.missing(dataclasses.replace(one, features=("avx", "avx512f"))) == "avx512f"
    assert "an architecture riscv64" in one.missing(dataclasses.replace(one, machine="riscv64"))


def test_what_cannot_be_compiled_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "_compile", lambda *_: pytest.fail("compiled"))
    model = tiny_model()
    for keywords, message in (
        ({"precision": "fp16"}, "precision must be one of fp32, bf16"),
        ({"largest_batch": 0}, r"the largest batch must be in 2\.\.1024, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            build.build_package(model, tmp_path / "x.pt2", **keywords)
    with pytest.raises(ValueError, match=r"name ends in \.pt2"):
        build.build_package(model, tmp_path / "x.so")
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_that_fails_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, weights):
    from torch._inductor.exc import InductorError

    def fails(*_: object, **__: object) -> str:
        raise InductorError(RuntimeError("No working C++ compiler found\nand a page of it"), lambda: None)

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", fails)
    failed = invoke("export", "aoti", "--weights", weights, "--out", tmp_path / "x.pt2")
    assert failed.exit_code == 1
    assert "AOTInductor cannot compile the decoder here: " in failed.output
    assert "No working C++ compiler found" in failed.output
    assert "and a page of it" not in failed.output
    assert list(tmp_path.iterdir()) == []


def test_wrong_calls_of_the_command(tmp_path):
    for arguments, message in (
        (("--out", tmp_path / "x.so"), "--out must end in .pt2"),
        (("--out", tmp_path / "x.pt2", "--weights", "nosuch"), "no weights 'nosuch'"),
        (("--out", tmp_path / "x.pt2", "--device", "tpu"), "no device is called 'tpu'"),
        (("--out", tmp_path / "x.pt2", "--largest-batch", 0), "--largest-batch"),
    ):
        refused = invoke("export", "aoti", *arguments)
        assert refused.exit_code != 0
        assert message in refused.output


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(weights, tmp_path):
    gpu = torch.device("cuda")
    model = load_weights(weights)
    build.build_package(model, tmp_path / "x.pt2", device=gpu, largest_batch=LARGEST_BATCH)
    assert read_package(tmp_path / "x.pt2").device == "cuda"
    drawn_by = AotiRuntime(tmp_path / "x.pt2", gpu)
    inputs = example_inputs(CONFIG, 3)
    wanted = DecoderPart(model)(**inputs)
    for image, of_torch in zip(drawn_by.decode(**inputs).values(), wanted, strict=True):
        assert image.device.type == "cuda"
        torch.testing.assert_close(image.cpu(), of_torch, rtol=0, atol=1e-3)  # convolutions may round to TF32


def test_format_is_in_every_package(compiled):
    with zipfile.ZipFile(compiled) as archive:
        own = next(name for name in archive.namelist() if name.endswith("hmeg.json"))
        assert json.loads(archive.read(own))["format"] == package.FORMAT
