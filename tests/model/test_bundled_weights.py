"""The bundled weights write what they are said to write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import hmeg
from hmeg.graph.latex import parse_latex
from hmeg.model import SMALL
from hmeg.model.checkpoint import load_weights, save_weights
from hmeg.model.glyphs import HOOK
from hmeg.model.graph_batch import GraphBatch


@pytest.fixture(scope="module")
def generator() -> hmeg.Generator:
    return hmeg.load("small", "cpu")


def test_its_id_stays_in_whatever_form_it_is_written(generator: hmeg.Generator, tmp_path: Path) -> None:
    """The bundled file is of the form in which configurations had no parts; a new one has them."""
    assert generator.model.weights_id == "a699147bb458"
    assert generator.model.config == SMALL
    save_weights(generator.model, tmp_path / "again.safetensors")
    again = load_weights(tmp_path / "again.safetensors")
    assert (again.weights_id, again.config) == ("a699147bb458", SMALL)
    texts = []
    for path in (Path(hmeg.__file__).parent / "weights" / "small.safetensors", tmp_path / "again.safetensors"):
        with safe_open(path, framework="pt") as file:
            texts.append(json.loads(file.metadata()["config"]))
    assert "version" not in texts[0] and texts[1]["version"] == 2


@pytest.mark.parametrize("latex", [r"\sqrt{x}", r"\sqrt{a+b+c+d}", r"\sqrt{\frac{a}{b}}"])
def test_roots_have_whole_hooks(generator: hmeg.Generator, latex: str) -> None:
    """A stroke runs down the left of a root, whatever its shape: nearly every row of it has ink."""
    for seed in range(4):
        (sample,) = generator(latex, seed=seed)
        x0, y0, x1, y1 = sample.boxes[sample.graph.symbols.index(r"\sqrt")].round().astype(int)
        hook = sample.array[y0:y1, x0 : min(x1, x0 + int(HOOK * (y1 - y0)))]
        inked = (hook < 128).any(axis=1)
        assert inked[len(inked) // 6 : -len(inked) // 6].mean() > 0.9, f"seed {seed}"


def test_symbols_without_a_mode_get_the_most_frequent_one_in_use(generator: hmeg.Generator) -> None:
    model = generator.model.image_model
    assert model.glyphs is not None
    graph = GraphBatch.from_graphs([parse_latex("1+8")], typeset=True)
    boxes = graph.typeset_boxes
    assert boxes is not None
    likeliest = model.glyphs.frequency[graph.symbols].max(dim=1)
    assert likeliest.indices.max() > 0, "mode 0 of one of them is left out"
    with torch.inference_mode():
        drawn, wanted = (model.compose(graph, boxes, modes).glyphs for modes in (None, likeliest.indices))
    assert drawn is not None and wanted is not None and torch.equal(drawn, wanted)


def test_no_handwriting_is_kept_that_is_not_drawn_from(generator: hmeg.Generator) -> None:
    atlas = generator.model.image_model.glyphs
    assert atlas is not None
    unused = atlas.frequency.flatten() == 0
    assert unused.any() and not atlas.glyphs[unused].any()


def test_layouts_of_one_formula_differ(generator: hmeg.Generator) -> None:
    samples = generator(r"x^2+\frac{a}{b}", count=8)
    sides = np.stack([s.graph.boxes[:, 2:] - s.graph.boxes[:, :2] for s in samples])
    assert (sides.std(axis=0) / sides.mean(axis=0)).mean() > 0.05, "sizes of symbols, by five per cent and more"


def test_paper_is_white_and_ink_black(generator: hmeg.Generator) -> None:
    for sample in generator(["y = x^2", "8"], seed=0):
        assert np.median(sample.array) == 255
        assert (sample.array < 64).any()
        grey = (sample.array > 64) & (sample.array < 240)
        assert grey.mean() < 0.03, "no veils, no specks: grey is at the edges of strokes alone"
