"""ONNX files: standard operators, what torch computes, what they say of themselves, and what is refused."""

from __future__ import annotations

import errno
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import hmeg
from hmeg.cli import main
from hmeg.cli.export.onnx import _cannot_check
from hmeg.export import onnx_export
from hmeg.export.decoder_part import DecoderPart, example_inputs
from hmeg.export.errors import Unavailable
from hmeg.export.metadata import ExportMetadata
from hmeg.export.onnx_check import DisagreementError, check_onnx, draw, tolerance
from hmeg.export.onnx_export import export_onnx
from hmeg.export.onnx_runtime import OnnxRuntime, open_session
from hmeg.export.padding import padded
from hmeg.export.runtime import load_runtime
from hmeg.export.seal import is_sealed, sealed
from hmeg.model.checkpoint import weights_id
from tests.support.graphs import GRAPHS, NINE
from tests.support.tiny_model import EXTENDED, TINY, save_tiny, tiny_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
CONFIGS = {"base-like": TINY, "small-like": EXTENDED}
SHORT = {"short": EXTENDED.changed(layout={"num_layers": 1}, image={"gconv_num_layers": 1})}  # tracing takes its time


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """exported(kind, part, precision) -> path; every file is made once."""
    folder = tmp_path_factory.mktemp("onnx")

    def make(kind, part, precision="fp32"):
        path = folder / f"{kind}-{part}-{precision}.onnx"
        if not path.exists():
            export_onnx(tiny_model((CONFIGS | SHORT)[kind]), path, part=part, precision=precision)
        return path

    return make


FILES = [(kind, part, "fp32") for kind in CONFIGS for part in ("decoder", "full")] + [
    ("base-like", "decoder", "fp16"),
    ("base-like", "decoder", "bf16"),
    ("short", "full", "fp16"),
]
every_file = pytest.mark.parametrize(("kind", "part", "precision"), FILES, ids=["-".join(file) for file in FILES])


@pytest.mark.slow
@every_file
def test_a_valid_file_of_operators_that_tensorrt_reads(exported, kind, part, precision):
    model = onnx.load(exported(kind, part, precision))
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} == {""}
    assert model.opset_import[0].version == (22 if precision == "bf16" else 18)
    supported = operators_of_tensorrt()
    assert {(node.domain, node.op_type) for node in model.graph.node} <= {("", name) for name in supported}
    types = types_in(model)
    for node in model.graph.node:
        # The first input is what an operator works on; with Where that is what it chooses from.
        assert types[node.input[node.op_type == "Where"]] in supported[node.op_type], node.op_type
    assert not model.functions
    kinds = onnx.TensorProto
    float_types = {"fp32": kinds.FLOAT, "fp16": kinds.FLOAT16, "bf16": kinds.BFLOAT16}
    typed = {value.name: value.type.tensor_type for value in (*model.graph.input, *model.graph.output)}
    for name, value in typed.items():
        assert value.shape.dim[0].dim_param == "batch"
        if name.startswith("image"):
            assert value.elem_type == float_types[precision]
    assert kinds.DOUBLE not in {tensor.data_type for tensor in model.graph.initializer}  # TensorRT has no such type


def operators_of_tensorrt():
    """Operator -> names of the types it may have."""
    lines = (ROOT / "tests" / "support" / "tensorrt_operators.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return {name: set(types) for name, *types in rows}


def types_in(model):
    """Name of a value -> its type in TensorRT's words."""
    kinds = onnx.TensorProto
    floats = {kinds.FLOAT: "FP32", kinds.FLOAT16: "FP16", kinds.BFLOAT16: "BF16"}
    words = {**floats, kinds.INT64: "INT64", kinds.BOOL: "BOOL"}
    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    found |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name: words[kind] for name, kind in found.items()}


@pytest.mark.slow
@every_file
def test_it_says_what_it_is_and_nothing_of_where_it_was_made(exported, kind, part, precision):
    path = exported(kind, part, precision)
    model = onnx.load(path)
    text = {entry.key: entry.value for entry in model.metadata_props}
    metadata = ExportMetadata.from_text(text, path.name)
    assert metadata == ExportMetadata(
        weights_id=weights_id(tiny_model((CONFIGS | SHORT)[kind])),
        config=(CONFIGS | SHORT)[kind],
        part=part,
        precision=precision,
        max_symbols=64 if part == "full" else None,
    )
    assert ("symbol_labels" in text, "edge_types" in text) == (part == "full",) * 2
    if part == "full":  # what to feed it, for who has the file alone
        labels, edges = json.loads(text["symbol_labels"]), json.loads(text["edge_types"])
        assert [labels.index(label) for label in NINE.symbols] == NINE.symbol_ids().tolist()
        assert {edges[kind] for kind in NINE.edge_type_matrix().ravel()} >= {"none", "Right", "Right^-1", "Above"}
        assert (len(labels), len(edges)) == (102, 13)
    assert (model.producer_name, model.producer_version) == ("hmeg", metadata.hmeg_version)
    content = path.read_bytes()
    for place in (ROOT, Path(torch.__file__).parent, Path(sys.prefix)):
        assert str(place).encode() not in content


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("kind", CONFIGS)
def test_decoder_by_onnxruntime(exported, kind, batch):
    runtime = OnnxRuntime(exported(kind, "decoder"), threads=1)
    inputs = example_inputs(CONFIGS[kind], batch, seed=batch)
    images = runtime.decode(**inputs)
    with torch.inference_mode():
        wanted = DecoderPart(tiny_model(CONFIGS[kind]))(**inputs)
    assert list(images) == [16, 32, 64]
    for image, want in zip(images.values(), wanted, strict=True):
        torch.testing.assert_close(image, want, rtol=0, atol=1e-4)
    repeated = runtime.decode(**inputs)
    assert all(torch.equal(repeated[size], image) for size, image in images.items())  # same noise, same image


@pytest.mark.slow
@pytest.mark.parametrize("symbols", [1, 9, 64])
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("kind", CONFIGS)
def test_full_by_onnxruntime(exported, kind, batch, symbols):
    config = CONFIGS[kind]
    session, _ = open_session(exported(kind, "full"), CPU, threads=1)
    names = [output.name for output in session.get_outputs()]
    graph = {1: GRAPHS[0], 9: GRAPHS[1], 64: GRAPHS[2]}[symbols]
    at_boxes = graph.with_boxes(np.random.default_rng(0).uniform(0, 1, (symbols, 4)))
    graphs = [graph, at_boxes, GRAPHS[0], graph, graph, at_boxes, graph][:batch]
    outputs = draw(tiny_model(config), graphs).outputs
    for padded_to in {symbols, 64}:
        got = dict(zip(names, session.run(None, padded(graphs, config, seed=0, symbols=padded_to)), strict=True))
        assert got.keys() == outputs.keys()
        for name, want in outputs.items():
            value = got[name] if name.startswith("image") else got[name][:, :symbols]
            np.testing.assert_allclose(value, want, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_documented_way_without_torch_and_hmeg(exported, tmp_path, monkeypatch):
    """The two pieces of Python in the docs, as they stand there; the second in a process of its own."""
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    prepare, render = re.findall(r"```python\n(import numpy.*?)```", page, re.DOTALL)
    monkeypatch.setattr(hmeg.model, "SMALL", TINY)
    monkeypatch.chdir(tmp_path)
    shutil.copy(exported("base-like", "full"), "full.onnx")
    exec(prepare, {})
    render += "\nimport sys\nassert not {'torch', 'hmeg'} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-I", "-c", render], check=True, cwd=tmp_path)
    generator = hmeg.Generator(tiny_model(), "cpu", "tiny")
    for index, sample in enumerate(generator(["x^2+1", "y"], seed=0, size=TINY.image.size)):
        with Image.open(f"{index}.png") as image:
            assert np.abs(np.asarray(image).astype(int) - sample.array).max() <= 1


@pytest.mark.slow
def test_half_precision_by_onnxruntime(exported):
    for kind, part in (("base-like", "decoder"), ("short", "full")):
        config = (CONFIGS | SHORT)[kind]
        found = check_onnx(exported(kind, part, "fp16"), tiny_model(config))
        assert 0 < found.difference <= found.allowed == tolerance(config, "fp16")
    runtime = OnnxRuntime(exported("base-like", "decoder", "fp16"), threads=1)
    assert all(image.dtype == torch.float16 for image in runtime.decode(**example_inputs(TINY, 2)).values())


@pytest.mark.slow
def test_bfloat16_by_the_reference_evaluator(exported):
    """onnxruntime's CPU provider has no bfloat16 convolutions, so the standard's own evaluator stands in."""
    from onnx.reference import ReferenceEvaluator

    path = exported("base-like", "decoder", "bf16")
    with pytest.raises(ValueError, match=r"base-like-decoder-bf16\.onnx: onnxruntime's CPUExecutionProvider cannot"):
        OnnxRuntime(path)
    model = onnx.load(path)
    inputs = example_inputs(TINY, 1)
    bfloat16 = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    arrays = {name: value.numpy().astype(bfloat16) for name, value in inputs.items()}
    with torch.inference_mode():
        wanted = DecoderPart(tiny_model(TINY))(**inputs)
    for got, want in zip(ReferenceEvaluator(model).run(None, arrays), wanted, strict=True):
        assert got.dtype == bfloat16
        difference = np.abs(got.astype(np.float32) - want.numpy()).max()
        assert 0 < difference <= tolerance(TINY, "bf16") * max(1, float(want.abs().max()))


@pytest.mark.slow
def test_found_by_its_suffix(exported):
    runtime = load_runtime(exported("base-like", "decoder"), CPU)
    assert isinstance(runtime, OnnxRuntime)
    assert runtime.metadata.part == "decoder"
    with pytest.raises(ValueError, match=r"full-fp32\.onnx: holds the full model, not the decoder alone"):
        load_runtime(exported("base-like", "full"), CPU)
    with pytest.raises(FileNotFoundError, match=r"absent\.onnx: no such file"):
        load_runtime("absent.onnx", CPU)


@pytest.mark.slow
def test_damaged_and_foreign_files_are_refused(exported, tmp_path):
    content = exported("base-like", "decoder").read_bytes()
    path = tmp_path / "x.onnx"
    for damaged, message in [
        (b"", "truncated or corrupt"),
        (b"no model at all", "truncated or corrupt"),
        (content[: len(content) // 2], "truncated or corrupt"),
        (content[:-1], "truncated or corrupt"),
        (content[:-100], "truncated or corrupt"),
        (flipped(content), "damaged, or changed since"),
        (content + b"\x72\x00", "damaged, or changed since"),
    ]:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"x\.onnx: .*{message}"):
            OnnxRuntime(path)
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "other", [value], [
        onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    ])  # fmt: skip
    foreign = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(foreign.SerializeToString())
    with pytest.raises(ValueError, match=r"x\.onnx: not a file of `hmeg export`"):
        OnnxRuntime(path)


def flipped(content):
    """One bit of some weight: still an ONNX file, of other numbers."""
    model = onnx.load_from_string(content)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    at = content.index(weight.raw_data) + len(weight.raw_data) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_seal_is_an_entry_that_others_can_read():
    model = onnx.ModelProto(ir_version=9)
    content = sealed(model.SerializeToString())
    assert is_sealed(content)
    assert not is_sealed(content[:-1])
    assert not is_sealed(b"")
    (entry,) = onnx.ModelProto.FromString(content).metadata_props
    assert entry.key == "hmeg_digest"
    assert len(entry.value) == 64


def test_a_file_that_disagrees_does_not_appear(tmp_path, monkeypatch):
    model, path = tiny_model(), tmp_path / "x.onnx"
    other = tiny_model()
    with torch.no_grad():
        other.image_model.decoder.heads[0].out.bias += 1e-2
    with pytest.raises(DisagreementError, match=r"image_16 of 1 expressions is off by 0\.01 of its largest value"):
        export_onnx(model, path, check=lambda part: check_onnx(part, other))
    assert not list(tmp_path.iterdir())


def test_a_backend_that_cannot_run_is_an_error_in_words(tmp_path, monkeypatch):
    weights = save_tiny(tmp_path / "tiny.safetensors")
    monkeypatch.setenv("HMEG_BACKEND", "nonsense")
    out = tmp_path / "tiny.onnx"
    refused = CliRunner().invoke(main, ["export", "onnx", "--weights", str(weights), "--out", str(out)])
    assert refused.exit_code == 1
    assert "Error: there is no backend 'nonsense'" in refused.output
    assert list(tmp_path.iterdir()) == [weights]


def test_a_disk_that_is_full_is_said_of_the_file(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    weights, out = save_tiny(tmp_path / "tiny.safetensors"), tmp_path / "tiny.onnx"
    monkeypatch.setattr(Path, "write_bytes", full)
    refused = CliRunner().invoke(main, ["export", "onnx", "--weights", str(weights), "--out", str(out), "--no-check"])
    assert refused.exit_code == 1
    assert f"Error: {out}: No space left on device" in refused.output
    assert list(tmp_path.iterdir()) == [weights]


def test_command(tmp_path):
    weights, out = save_tiny(tmp_path / "tiny.safetensors"), tmp_path / "new folder" / "my tiny.onnx"
    done = CliRunner().invoke(main, ["export", "onnx", "--weights", str(weights), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"{out}: decoder network of tiny@" in done.output
    assert "onnxruntime agrees with torch to" in done.output
    assert "licence of the weights in it: none, random numbers" in done.output
    _, metadata = open_session(out, CPU)
    assert metadata.licence == "none, random numbers"
    assert f"--weights {weights} --decoder '{out}' --random" in done.output  # to be copied into a shell
    assert [file.name for file in out.parent.iterdir()] == ["my tiny.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "none", "--out", "x.onnx"], "no weights 'none'"),
        (["--out", "x.pt"], "x.pt: the name of an ONNX file must end in .onnx"),
        (["--out", "tiny.safetensors/x.onnx", "--no-check"], "x.onnx cannot be written: no file can be made in"),
        (["--out", "x.onnx", "--part", "half"], "'half' is not one of"),
        (["--out", "x.onnx", "--part", "full", "--max-symbols", "1"], "not in the range"),
    ],
)
def test_command_refuses(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    weights = [] if "--weights" in arguments else ["--weights", str(save_tiny(tmp_path / "tiny.safetensors"))]
    refused = CliRunner().invoke(main, ["export", "onnx", *weights, *arguments])
    assert refused.exit_code != 0
    assert message in refused.output
    assert "Traceback" not in refused.output
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.slow
def test_what_is_missing_is_named(exported, tmp_path, monkeypatch):
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(Unavailable, match="has no CUDAExecutionProvider; for GPUs: pip install onnxruntime-gpu"):
            OnnxRuntime(exported("base-like", "decoder"), "cuda")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else found(name))
    with pytest.raises(Unavailable, match=r"onnx is not installed: pip install 'hmeg\[onnx\]'"):
        export_onnx(tiny_model(), tmp_path / "x.onnx")
    assert "onnxruntime is not installed" in (_cannot_check("float32") or "")
    assert "no bfloat16" in (_cannot_check("bfloat16") or "")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Unavailable, match=r"onnxruntime cannot be imported .*: pip install 'hmeg\[onnx\]'"):
        OnnxRuntime(exported("base-like", "decoder"))


def test_more_than_one_file_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "_LARGEST_FILE", 1000)
    with pytest.raises(ValueError, match=r"x\.onnx: 0\.0 GB of weights; one ONNX file holds 2 GB"):
        export_onnx(tiny_model(), tmp_path / "x.onnx")


def test_tolerance_follows_the_precision():
    assert tolerance(TINY, "fp32") == 1e-4
    assert tolerance(TINY, "bf16") == 8 * tolerance(TINY, "fp16")
    assert tolerance(TINY, "fp16") < 0.03
