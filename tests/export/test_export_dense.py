"""The pipeline on padded dense graphs: the same boxes, masks and images as the model's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hmeg
from hmeg.export.dense import DensePipeline
from hmeg.export.onnx_check import draw
from hmeg.export.padding import padded
from hmeg.graph import SymbolGraph
from hmeg.graph.latex import parse_latex
from tests.support.graphs import GRAPHS, NINE
from tests.support.tiny_model import EXTENDED, TINY, tiny_model

TOLERANCE = 1e-5


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def by_name(config, outputs):
    return dict(zip(["boxes_drawn", "masks", *(f"image_{size}" for size in config.resolutions)], outputs, strict=True))


ROOTS = EXTENDED.changed(glyph={"hooks": True, "fit": True})
SHARED = TINY.changed(layout={"shared_noise": 3})


@pytest.mark.parametrize(
    "config", [TINY, EXTENDED, ROOTS, SHARED], ids=["base-like", "stretched", "small-like", "shared noise"]
)
@pytest.mark.parametrize("merged", [True, False], ids=["merged", "folded"])
def test_same_as_the_model(config, merged):
    model = tiny_model(config)
    dense = DensePipeline(model, merged)
    for graphs in ([GRAPHS[0]], GRAPHS, GRAPHS[:2], [parse_latex(r"\sqrt{a+b}"), NINE]):
        with torch.inference_mode():
            got = by_name(config, dense(**tensors(padded(graphs, config, seed=0))))
        for name, wanted in draw(model, graphs).outputs.items():
            torch.testing.assert_close(got[name], wanted, rtol=0, atol=TOLERANCE)


def test_bundled_weights_and_the_generator():
    """Names, glyph modes and all: what `hmeg generate` draws, to one grey level."""
    from hmeg.model.display import to_pixels

    generator = hmeg.load("small", "cpu")
    graphs = [parse_latex(text) for text in ("x^2+x", r"\sqrt{a}")]
    with torch.inference_mode():
        inputs = padded(graphs, generator.config, 3, first_index=5)
        boxes, _, *images = DensePipeline(generator.model)(**tensors(inputs))
    tasks = [hmeg.generation.generator.Task(5 + i, graph) for i, graph in enumerate(graphs)]
    for row, sample in enumerate(generator.stream(tasks, seed=3)):
        np.testing.assert_allclose(boxes[row, : len(sample.graph)], sample.graph.boxes, rtol=0, atol=1e-6)
        assert np.abs(to_pixels(images[-1][row].numpy()).astype(int) - sample.array).max() <= 1


@pytest.mark.parametrize("config", [TINY, EXTENDED], ids=["base-like", "small-like"])
def test_padding_has_no_influence_whatever_it_holds(config):
    dense = DensePipeline(tiny_model(config))
    graphs = GRAPHS[:2]
    plain, filled = (tensors(padded(graphs, config, seed=1, symbols=12)) for _ in range(2))
    for row, graph in enumerate(graphs):
        filled["symbols"][row, len(graph) :] = -5
        filled["relations"][row, len(graph) :] = 10**9
        filled["relations"][row, :, len(graph) :] = -7
        for name in filled.keys() & {"box_noise", "boxes", "typeset_boxes"}:
            filled[name][row, len(graph) :] = torch.nan
    with torch.inference_mode():
        wanted = dense(**tensors(padded(graphs, config, seed=1)))
        same = dense(**plain)
        for got, value in zip(dense(**filled), same, strict=True):
            assert torch.equal(got, value)
    for name, value in by_name(config, same).items():
        expected = by_name(config, wanted)[name]
        if not name.startswith("image"):
            assert not value[:, 9:].any()
            value = value[:, :9]
        torch.testing.assert_close(value, expected, rtol=0, atol=TOLERANCE)


def test_given_boxes_are_used_where_asked_for():
    model = tiny_model(EXTENDED)
    boxes = np.random.default_rng(0).uniform(0, 1, (9, 4))  # some of them inverted
    graphs = [NINE.with_boxes(boxes), NINE]
    inputs = padded(graphs, EXTENDED, seed=0)
    assert inputs["boxes_given"].tolist() == [True, False]
    with torch.inference_mode():
        got = by_name(EXTENDED, DensePipeline(model)(**tensors(inputs)))
    for name, wanted in draw(model, graphs).outputs.items():
        torch.testing.assert_close(got[name], wanted, rtol=0, atol=TOLERANCE)


def test_inputs_of_graphs():
    inputs = padded([GRAPHS[0], NINE], TINY, seed=0, symbols=16, image_dtype="float16")
    assert inputs["symbols"].shape == (2, 16)
    assert inputs["counts"].tolist() == [1, 9]
    assert inputs["image_noise"].dtype == np.float16
    assert "typeset_boxes" not in inputs
    np.testing.assert_array_equal(inputs["relations"][1, :9, :9], NINE.edge_type_matrix())
    with pytest.raises(ValueError, match="graph 1 has 9 symbols, more than 8"):
        padded([GRAPHS[0], NINE], TINY, seed=0, symbols=8)
    for graphs in ([], [SymbolGraph(())]):
        with pytest.raises(ValueError, match="at least one"):
            padded(graphs, TINY, seed=0)


def test_masks_of_any_weights():
    """The norm's shift beside zero padding is where folding it could go wrong."""
    model = tiny_model(TINY.changed(image={"mask_hidden_dim": 6}))
    refiner = model.image_model.mask_refiner
    with torch.no_grad():
        refiner.norm.running_mean.normal_()
        refiner.norm.running_var.uniform_(0.3, 2)
        refiner.norm.weight.normal_()
        refiner.norm.bias.normal_()
        boxes = torch.rand(2, 5, 4)
        wanted = refiner(boxes.flatten(0, 1)).reshape(2, 5, 16, 16)
        torch.testing.assert_close(DensePipeline(model).masks(boxes), wanted, rtol=0, atol=TOLERANCE)
