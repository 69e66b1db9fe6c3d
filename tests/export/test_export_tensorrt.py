"""TensorRT engines: flow, files and errors, with a stand-in for TensorRT where there is no GPU.

What TensorRT itself makes of a network is tested on a GPU with TensorRT only (the last test).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

import hmeg
from hmeg.cli import main
from hmeg.export.decoder_part import DecoderPart, example_inputs
from hmeg.export.errors import Unavailable
from hmeg.export.metadata import ExportMetadata
from hmeg.export.trt.build import build_engine
from hmeg.export.trt.library import require_tensorrt
from hmeg.export.trt.profiles import DEFAULT_PROFILES, BatchProfile, check_profiles, parts
from hmeg.export.trt.runtime import TensorRTRuntime
from hmeg.export.trt.sidecar import read_sidecar, sidecar_path
from hmeg.generation.decoder_file import load_decoder
from hmeg.model.checkpoint import load_weights
from hmeg.model.composition import decoder_input_shapes
from tests.support.fake_tensorrt import Network, fake_tensorrt
from tests.support.tiny_model import TINY, save_tiny

pytestmark = pytest.mark.xdist_group("tensorrt")  # one process, for the ONNX file is made once a process

CONFIG = TINY.changed(image={"box_coordinates": True, "symbol_channels": 3}, glyph={"channels": 2, "modes": 4})
GPU = torch.device("cuda")
STREAM = 0x1234
PROFILES = (BatchProfile(1, 1, 2), BatchProfile(3, 4, 8))
VERSIONS = ["10.13.0.35", "11.4.0.106"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors", CONFIG)


@pytest.fixture(scope="module")
def part(weights) -> DecoderPart:
    return DecoderPart(load_weights(weights))


@pytest.fixture
def network(part) -> Network:
    def compute(inputs):
        given = (torch.from_numpy(inputs[name]) for name in decoder_input_shapes(CONFIG))
        return {f"image_{image.shape[-1]}": image.numpy() for image in part(*given)}

    inputs = [(name, "FLOAT", (-1, *shape)) for name, shape in decoder_input_shapes(CONFIG).items()]
    outputs = [(f"image_{r}", "FLOAT", (-1, CONFIG.image.channels, r, r)) for r in CONFIG.resolutions]
    return Network(inputs, outputs, compute)


@pytest.fixture
def gpu(monkeypatch) -> None:
    """torch says that there is a GPU; tensors that should be on it are on the CPU."""
    cuda = torch.cuda
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=STREAM, synchronize=lambda: None))
    for module in ("build", "runtime"):
        monkeypatch.setattr(f"hmeg.export.trt.{module}.indexed_gpu", lambda device: torch.device("cpu"))


@pytest.fixture(params=VERSIONS)
def trt(request, monkeypatch, gpu, network) -> ModuleType:
    module = fake_tensorrt(request.param, network)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


@pytest.fixture
def metadata(weights) -> ExportMetadata:
    return ExportMetadata(load_weights(weights).weights_id, CONFIG, "decoder", "fp32", "none")


@pytest.fixture
def onnx_file(tmp_path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the stand-in does not read it")
    return path


@pytest.fixture
def engine(trt, metadata, onnx_file, tmp_path) -> Path:
    path = tmp_path / "model.engine"
    build_engine(onnx_file, metadata, path, profiles=PROFILES)
    return path


def called(trt: ModuleType, name: str) -> list[tuple]:
    return [call[1:] for call in trt.calls if call[0] == name]


def test_an_engine_is_built_with_its_sidecar(trt, metadata, onnx_file, tmp_path):
    out, cache, told = tmp_path / "model.engine", tmp_path / "timings", []
    built = build_engine(onnx_file, metadata, out, profiles=PROFILES, timing_cache=cache, tell=told.append)
    # 10 is told that types are the network's, 11 knows nothing else
    assert called(trt, "create_network") == [(2,) if trt.__version__.startswith("10") else (0,)]
    assert called(trt, "parse_from_file") == [(str(onnx_file),)]
    ((flags, profiles),) = called(trt, "build")
    assert flags == []  # not even TF32
    assert [list(profile) for profile in profiles] == [["layout", "noise", "glyphs"]] * 2
    assert profiles[1]["noise"] == [[n, 2, 64, 64] for n in (3, 4, 8)]
    assert read_sidecar(out) == built
    assert built.metadata == metadata
    assert (built.tensorrt, built.gpu.name, built.gpu.capability) == (trt.__version__, "NVIDIA H100 80GB HBM3", "9.0")
    assert built.profiles == PROFILES
    assert [tensor.name for tensor in built.tensors if tensor.is_input] == ["layout", "noise", "glyphs"]
    assert built.engine_bytes == out.stat().st_size
    assert "TensorRT: a weight is subnormal" in told and not any("not for people" in line for line in told)
    assert cache.read_bytes() == trt.cache_of
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.engine", "model.engine.json", "model.onnx", "timings",
    ]  # fmt: skip


def test_tf32_only_when_asked_for(trt, metadata, onnx_file, tmp_path):
    assert build_engine(onnx_file, metadata, tmp_path / "x.engine", tf32=True).tf32
    assert called(trt, "build")[0][0] == ["TF32"]


def test_timing_caches_are_used_again_and_foreign_ones_are_not(trt, metadata, onnx_file, tmp_path):
    cache, told = tmp_path / "timings", []
    for content, taken, says in (
        (None, [b""], "new"),
        (trt.cache_of, [trt.cache_of], "read"),
        (b"of another GPU", [b"of another GPU", b""], "of another TensorRT or GPU, or damaged; it begins anew"),
    ):
        trt.calls.clear()
        cache.unlink(missing_ok=True)
        if content is not None:
            cache.write_bytes(content)
        build_engine(onnx_file, metadata, tmp_path / "x.engine", timing_cache=cache, tell=told.append)
        assert called(trt, "set_timing_cache") == [(given,) for given in taken]
        assert f"timing cache {cache}: {says}" in told
        assert cache.read_bytes() == trt.cache_of


def test_what_cannot_be_built_says_why_and_leaves_nothing(trt, metadata, onnx_file, tmp_path, network):
    out, cache = tmp_path / "x.engine", tmp_path / "timings"
    network.errors = ["no importer for Foo", "node 3"]
    with pytest.raises(ValueError, match=r"model\.onnx: TensorRT's parser refuses it: no importer for Foo; node 3"):
        build_engine(onnx_file, metadata, out, timing_cache=cache)
    network.errors, network.failure = [], "no implementation\n for node 3"
    with pytest.raises(Unavailable, match=r"TensorRT cannot build .*model\.onnx: no implementation for node 3"):
        build_engine(onnx_file, metadata, out, timing_cache=cache)
    network.failure = None
    network.inputs[0] = ("layout", "FLOAT", (1, 16, 16, 16))
    with pytest.raises(ValueError, match=r"input layout is \(1, 16, 16, 16\): the batch, and only it, must be dynamic"):
        build_engine(onnx_file, metadata, out)
    with pytest.raises(ValueError, match=r"one profile must begin at 1, .* got 2:4:8"):
        build_engine(onnx_file, metadata, out, profiles=[BatchProfile(2, 4, 8)])
    with pytest.raises(ValueError, match=r"an engine's name ends in \.engine"):
        build_engine(onnx_file, metadata, tmp_path / "x.plan")
    assert list(tmp_path.iterdir()) == [onnx_file]


def test_engines_run_on_torchs_memory_and_stream(trt, engine, part):
    drawn_by = TensorRTRuntime(engine, GPU)
    assert called(trt, "set_optimization_profile_async") == [(0, STREAM), (1, STREAM)]
    assert drawn_by.metadata.config == CONFIG
    for batch, run in ((1, [(0, 1)]), (2, [(0, 2)]), (3, [(1, 3)]), (8, [(1, 8)]), (19, [(1, 8), (1, 8), (1, 3)])):
        trt.calls.clear()
        inputs = example_inputs(CONFIG, batch, seed=batch)
        images = drawn_by.decode(**inputs)
        assert called(trt, "execute_async_v3") == [(profile, size, STREAM) for profile, size in run]
        for image, wanted in zip(images.values(), part(**inputs), strict=True):
            torch.testing.assert_close(image, wanted, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="layout must be"):
        drawn_by.decode(inputs["layout"][:, 1:], inputs["noise"], inputs["glyphs"])


def test_a_run_draws_with_an_engine(trt, engine, weights):
    drawn = [hmeg.load(weights, "cpu")("x^2", seed=1, size=64)]
    model = load_weights(weights)
    decoder = load_decoder(engine, GPU)
    assert decoder.label.startswith("tensorrt ")
    drawn.append(hmeg.Generator(model, "cpu", "tiny", decoder=decoder)("x^2", seed=1, size=64))
    (once,), (again,) = drawn
    assert once.label() == again.label()
    assert abs(once.array.astype(int) - again.array).max() <= 1


def test_a_wrong_engine_never_reaches_tensorrt(trt, engine, monkeypatch, tmp_path):
    content, sidecar = engine.read_bytes(), sidecar_path(engine)
    text = sidecar.read_text()
    trt.calls.clear()

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            TensorRTRuntime(engine, GPU)
        assert called(trt, "deserialize") == []

    with pytest.raises(FileNotFoundError, match=r"none\.engine: no such engine"):
        TensorRTRuntime(tmp_path / "none.engine", GPU)
    engine.write_bytes(content[:-10])
    refused(r"model\.engine: \d+ bytes, not the \d+ that were built; truncated\?")
    engine.write_bytes(content[:-1] + b"!")
    refused(r"model\.engine: not the engine that was built: model\.engine\.json has another sha256")
    engine.write_bytes(content)
    for damaged, message in (
        ("{", "not the sidecar of an engine: it is not JSON"),
        ("[]", r"not the sidecar of an engine of hmeg's \(of the format hmeg-engine-1\)"),
        (json.dumps({**json.loads(text), "format": "else"}), "not the sidecar of an engine of hmeg's"),
        (json.dumps({**json.loads(text), "profiles": [{}]}), "damaged, or of another version of hmeg"),
        (json.dumps({**json.loads(text), "profiles": [{"smallest": 3, "best": 1, "largest": 1}]}), "MIN <= BEST"),
        (json.dumps({**json.loads(text), "metadata": {"format": "x"}}), "not a file of `hmeg export`"),
        (json.dumps({k: v for k, v in json.loads(text).items() if k != "gpu"}), "damaged, .*'gpu'"),
    ):
        sidecar.write_text(damaged)
        refused(rf"model\.engine\.json: .*{message}")
    other_part = json.loads(text)
    other_part["metadata"] |= {"part": "full", "max_symbols": "9"}
    sidecar.write_text(json.dumps(other_part))
    refused(r"model\.engine: holds the part 'full'; only decoders can be run here")
    sidecar.unlink()
    refused(r"model\.engine: its sidecar model\.engine\.json is missing")
    sidecar.write_text(text)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    refused(r"built for NVIDIA H100 .*capability 9\.0\), and here is .*capability 8\.0\)\. Engines do not travel")
    monkeypatch.setattr(trt, "__version__", "10.9.0.34")
    refused(r"built with TensorRT 1.*, and here is 10\.9\.0\.34; for .*`hmeg export tensorrt` builds one")
    with pytest.raises(ValueError, match="an engine runs on an NVIDIA GPU, not on cpu"):
        TensorRTRuntime(engine, torch.device("cpu"))


def test_engines_that_tensorrt_refuses_or_that_are_not_the_decoder(trt, metadata, onnx_file, tmp_path, network):
    path = tmp_path / "x.engine"
    build_engine(onnx_file, metadata, path)
    garbage = b"garbage"
    values = json.loads(sidecar_path(path).read_text())
    values |= {"engine_bytes": len(garbage), "engine_sha256": hashlib.sha256(garbage).hexdigest()}
    path.write_bytes(garbage)
    sidecar_path(path).write_text(json.dumps(values))
    with pytest.raises(ValueError, match="TensorRT cannot read this engine: Magic tag does not match"):
        TensorRTRuntime(path, GPU)
    for index, (changed, message) in enumerate(
        (
            (("image_16", "HALF", (-1, 1, 16, 16)), r"output image_16 should be FLOAT \(-1, 1, 16, 16\), and is HALF"),
            (("picture", "FLOAT", (-1, 1, 16, 16)), r"output image_16 should be FLOAT .*, and is missing"),
            (("image_16", "FLOAT", (-1, 3, 16, 16)), r"and is FLOAT \(-1, 3, 16, 16\)"),
        )
    ):
        network.outputs[0] = changed
        build_engine(onnx_file, metadata, path.with_stem(f"x{index}"))
        with pytest.raises(ValueError, match=message):
            TensorRTRuntime(path.with_stem(f"x{index}"), GPU)
    network.outputs[0] = ("image_16", "FLOAT", (-1, 1, 16, 16))
    network.outputs.append(("more", "FLOAT", (-1, 1)))
    build_engine(onnx_file, metadata, path)
    with pytest.raises(ValueError, match="has more inputs or outputs than its decoder: more"):
        TensorRTRuntime(path, GPU)


def test_work_that_tensorrt_refuses_is_an_error(trt, engine, monkeypatch):
    drawn_by = TensorRTRuntime(engine, GPU)
    monkeypatch.setattr(type(drawn_by._contexts[0]), "execute_async_v3", lambda self, stream_handle: False)
    with pytest.raises(Unavailable, match=r"model\.engine: TensorRT could not compute 1 images"):
        drawn_by.decode(**example_inputs(CONFIG, 1))


@pytest.mark.parametrize("batch", range(1, 40))
def test_every_batch_is_computed_once_and_in_order(batch):
    for profiles in (DEFAULT_PROFILES, PROFILES, (BatchProfile(5, 6, 7), BatchProfile(1, 1, 1))):
        done = list(parts(profiles, batch))
        rows = [row for _, piece in done for row in range(batch)[piece]]
        assert rows == list(range(batch))
        for profile, piece in done:
            assert profiles[profile].smallest <= piece.stop - piece.start <= profiles[profile].largest
    assert len(list(parts(DEFAULT_PROFILES, batch))) == 1


def test_profiles_in_text():
    assert str(BatchProfile.parse("1:8:16")) == "1:8:16"
    for text in ("", "1:2", "2:1:3", "1:2:x", "0:1:1", "1:1:5000", "-1:1:1", "1:2:3:4"):
        with pytest.raises(ValueError, match="a profile is MIN:BEST:MAX"):
            BatchProfile.parse(text)
    check_profiles(DEFAULT_PROFILES)


def test_what_is_missing_is_said_with_the_way_to_get_it(monkeypatch, gpu, network, tmp_path):
    def why() -> str:
        with pytest.raises(Unavailable, match="TensorRT cannot run here: ") as error:
            require_tensorrt()
        return str(error.value)

    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("10.13.0.35", network))
    require_tensorrt()
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("9.3.0", network))
    assert "tensorrt is 9.3.0, and hmeg knows 10 and 11; pip install 'hmeg[tensorrt]'" in why()
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    assert "not TensorRT's Python package" in why()
    monkeypatch.delitem(sys.modules, "tensorrt")
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    assert "cannot be loaded (libnvinfer.so.10: cannot open shared object file)" in why()
    (tmp_path / "tensorrt.py").write_text("import tensorrt_bindings_that_are_not_there")
    importlib.invalidate_caches()
    assert "is incomplete (No module named 'tensorrt_bindings_that_are_not_there')" in why()
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    both = why()
    assert "torch sees no NVIDIA GPU; `nvidia-smi` tells" in both
    assert "pip install 'hmeg[tensorrt]'" in both
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "is a build without CUDA; install one with CUDA" in why()


@pytest.fixture(scope="module")
def exported(weights) -> Path:
    """The decoder as `hmeg export onnx` writes it."""
    pytest.importorskip("onnx", reason="needs hmeg[onnx]")
    pytest.importorskip("onnxscript", reason="needs hmeg[onnx]")
    from hmeg.export.onnx_export import export_onnx

    path = weights.with_name("tiny.onnx")
    export_onnx(load_weights(weights), path)
    return path


def invoke(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_builds_from_onnx_and_from_weights(trt, exported, weights, tmp_path, monkeypatch):
    out = tmp_path / "x.engine"
    built = invoke("export", "tensorrt", "--onnx", exported, "--out", out, "--profile", "1:1:2", "--profile=3:4:8")
    assert built.exit_code == 0, built.output
    model_id = load_weights(weights).weights_id
    assert f"{out}: decoder of tiny@{model_id}, float32," in built.output
    assert "with x.engine.json" in built.output
    sidecar = read_sidecar(out)
    assert sidecar.metadata.weights_id == model_id
    assert sidecar.profiles == PROFILES
    assert (tmp_path / "tensorrt-timings.cache").read_bytes() == trt.cache_of

    def export_onnx(model, path, precision):
        assert (model.weights_id, precision) == (model_id, "fp16")
        shutil.copy(exported, path)

    monkeypatch.setattr("hmeg.export.onnx_export.export_onnx", export_onnx)  # the real one, above, had to see no GPU
    again = invoke(
        "export", "tensorrt", "--weights", weights, "--precision=fp16", "--out", tmp_path / "y.engine", "--tf32"
    )
    assert again.exit_code == 0, again.output
    assert "tensorrt-timings.cache: read" in again.output
    assert read_sidecar(tmp_path / "y.engine").profiles == DEFAULT_PROFILES
    assert called(trt, "build")[1][0] == ["TF32"]


@pytest.mark.slow
def test_wrong_calls_of_the_command(trt, exported, tmp_path):
    out = tmp_path / "x.engine"
    content = exported.read_bytes()
    foreign, cut, changed = (tmp_path / name for name in ("foreign.onnx", "cut.onnx", "changed.onnx"))
    foreign.write_bytes(b"not an ONNX file")
    cut.write_bytes(content[: len(content) // 2])
    middle = len(content) // 2
    changed.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    for arguments, code, message in (
        (("--out", out), 2, "give one of --onnx and --weights"),
        (("--out", out, "--onnx", exported, "--weights", "small"), 2, "give one of --onnx and --weights"),
        (("--out", out, "--onnx", exported, "--precision", "fp16"), 2, "--precision goes with --weights"),
        (("--out", tmp_path / "x.plan", "--onnx", exported), 2, "--out must end in .engine"),
        (("--out", out, "--onnx", exported, "--device", "cpu"), 2, "--device must be a GPU"),
        (("--out", out, "--onnx", exported, "--profile", "2:4:8"), 2, "one profile must begin at 1"),
        (("--out", out, "--onnx", exported, "--profile", "big"), 2, "a profile is MIN:BEST:MAX"),
        (("--out", out, "--weights", "nosuch"), 1, "no weights 'nosuch'"),
        (("--out", out, "--onnx", foreign), 1, "foreign.onnx: "),
        (("--out", out, "--onnx", cut), 1, "cut.onnx: "),
        (("--out", out, "--onnx", changed), 1, "changed.onnx: "),
    ):
        refused = invoke("export", "tensorrt", *arguments)
        assert refused.exit_code == code, refused.output
        assert message in refused.output
        assert not out.exists()


def test_commands_say_what_is_missing_here(weights, tmp_path):
    if importlib.util.find_spec("tensorrt") and torch.cuda.is_available():
        pytest.skip("nothing is missing here")
    (tmp_path / "x.engine").write_bytes(b"engine")
    for arguments in (
        ("export", "tensorrt", "--weights", weights, "--out", tmp_path / "y.engine"),
        ("generate", "--latex", "x", "--weights", weights, "--decoder", tmp_path / "x.engine", "--out", tmp_path / "o"),
    ):
        refused = invoke(*arguments)
        assert refused.exit_code == 1
        assert "Error: TensorRT cannot run here: " in refused.output
        assert "Traceback" not in refused.output


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_itself_draws_what_torch_draws(weights, tmp_path, precision):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    pytest.importorskip("tensorrt", reason="needs hmeg[tensorrt]")
    pytest.importorskip("onnx", reason="needs hmeg[onnx]")
    from hmeg.export.onnx_export import export_onnx

    model = load_weights(weights)
    metadata = export_onnx(model, tmp_path / "x.onnx", precision=precision)
    build_engine(tmp_path / "x.onnx", metadata, tmp_path / "x.engine", profiles=PROFILES)
    drawn_by = TensorRTRuntime(tmp_path / "x.engine", GPU)
    for batch in (1, 7, 11):
        inputs = example_inputs(CONFIG, batch, seed=batch)
        wanted = DecoderPart(model)(**inputs)
        with torch.cuda.stream(torch.cuda.Stream()):
            images = [image.float().cpu() for image in drawn_by.decode(**inputs).values()]
        for image, of_torch in zip(images, wanted, strict=True):
            torch.testing.assert_close(image, of_torch, rtol=0, atol=1e-4 if precision == "fp32" else 1e-3)
