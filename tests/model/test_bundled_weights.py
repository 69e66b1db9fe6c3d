"""The bundled weights write what they are said to write."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hmeg
from hmeg.graph.latex import parse_latex
from hmeg.model.glyphs import HOOK
from hmeg.model.graph_batch import GraphBatch


@pytest.fixture(scope="module")
def generator() -> hmeg.Generator:
    return hmeg.load("small", "cpu")


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
