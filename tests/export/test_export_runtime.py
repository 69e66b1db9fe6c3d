"""The interface of exported decoders: what goes in, what a file says of itself, how a runtime is found."""

from __future__ import annotations

import pytest
import torch

from hmeg.export.decoder_part import DecoderPart, example_inputs
from hmeg.export.metadata import ExportMetadata
from hmeg.export.runtime import checked_inputs, load_runtime
from hmeg.graph.latex import parse_latex
from hmeg.model import BASE, SMALL
from hmeg.model.composition import Composition, decoder_input_shapes
from hmeg.model.graph_batch import GraphBatch
from tests.support.tiny_model import EXTENDED, TINY, tiny_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("config", [TINY, EXTENDED], ids=["base-like", "small-like"])
def test_composition_and_decoder_make_the_models_images(config):
    model = tiny_model(config)
    graph = GraphBatch.from_graphs([parse_latex("x^2 + 1"), parse_latex("y")])
    boxes = torch.rand(len(graph.symbols), 4).sort(dim=1).values
    noise = torch.randn(2, config.image.noise_dim, 64, 64)
    modes = torch.arange(len(graph.symbols)) % config.glyph.modes
    with torch.inference_mode():
        wanted = model.image_model(graph, noise, boxes, glyph_modes=modes).images
        composition = model.image_model.compose(graph, boxes, modes)
        inputs = composition.decoder_inputs(noise)
        assert {name: tuple(value.shape[1:]) for name, value in inputs.items()} == decoder_input_shapes(config)
        for size, image in zip(config.resolutions, DecoderPart(model)(**inputs), strict=True):
            torch.testing.assert_close(image, wanted[size], rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [TINY, EXTENDED], ids=["base-like", "small-like"])
def test_a_composition_comes_back_from_its_tensors(config):
    shapes = decoder_input_shapes(config)
    drawn = {name: torch.randn(2, *shape) for name, shape in shapes.items()}
    noise = drawn.pop("noise")
    composition = Composition.of_decoder_inputs(config, **drawn)
    again = Composition.of_tensors(config, composition.tensors())
    inputs = again.to(torch.float64).decoder_inputs(noise)
    assert inputs.pop("noise") is noise
    assert inputs.keys() == drawn.keys()
    assert all(torch.equal(value, drawn[name].double()) for name, value in inputs.items())
    with pytest.raises(ValueError, match=f"'tiny' has {len(composition.tensors())} tensors, got 4"):
        Composition.of_tensors(config, [noise] * 4)


def test_shapes_of_the_two_models():
    assert decoder_input_shapes(BASE) == {"layout": (128, 64, 64), "noise": (32, 256, 256)}
    assert decoder_input_shapes(SMALL) == {"layout": (28, 64, 64), "noise": (2, 256, 256), "glyphs": (1, 256, 256)}


def test_metadata_comes_back_from_text():
    for metadata in (
        ExportMetadata("0123456789ab", SMALL, "full", "fp16", "CC BY-NC-SA 3.0", 64),
        ExportMetadata("0123456789ab", BASE, "decoder", "fp32"),
    ):
        text = metadata.to_text()
        assert all(isinstance(value, str) for value in text.values())
        assert ExportMetadata.from_text({**text, "other": "key"}, "x.onnx") == metadata


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "else"}, r"^x\.onnx: not a file of `hmeg export`"),
        ({"weights_id": None}, r"^x\.onnx: its metadata has no 'weights_id'"),
        ({"config": "{}}"}, r"^x\.onnx: its metadata is damaged: model configuration is not JSON"),
        ({"part": "half"}, r"^x\.onnx: its metadata is damaged: part must be one of decoder, full, got 'half'"),
        ({"max_symbols": "many"}, r"^x\.onnx: its metadata is damaged"),
    ],
)
def test_foreign_and_damaged_metadata_is_refused(change, message):
    text = {**ExportMetadata("0123456789ab", SMALL, "full", "fp16").to_text(), **change}
    with pytest.raises(ValueError, match=message):
        ExportMetadata.from_text({key: value for key, value in text.items() if value is not None}, "x.onnx")


def test_inputs_are_converted_and_checked():
    metadata = ExportMetadata("0123456789ab", EXTENDED, "decoder", "fp16")
    inputs = example_inputs(EXTENDED, 2)
    checked = checked_inputs(metadata, CPU, **inputs)
    assert list(checked) == ["layout", "noise", "glyphs"]
    assert all(value.dtype == torch.float16 and value.is_contiguous() for value in checked.values())
    with pytest.raises(ValueError, match="this decoder reads layout, noise, glyphs; given were layout, noise"):
        checked_inputs(metadata, CPU, inputs["layout"], inputs["noise"], None)
    with pytest.raises(ValueError, match=r"noise must be \(N, 2, 64, 64\), with the same N .* got \(1, 2, 64, 64\)"):
        checked_inputs(metadata, CPU, inputs["layout"], inputs["noise"][:1], inputs["glyphs"])
    with pytest.raises(ValueError, match=r"layout must be \(N, 16, 16, 16\)"):
        checked_inputs(metadata, CPU, *(value[:0] for value in inputs.values()))


def test_files_of_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"x\.bin: exported decoders end in"):
        load_runtime(tmp_path / "x.bin", CPU)
