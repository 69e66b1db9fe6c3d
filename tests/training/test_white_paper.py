"""White paper: images are shifted so that their background is 1, and nothing else of them changes."""

import copy

import pytest
import torch

from hmeg.graph.latex import parse_latex
from hmeg.model.graph_batch import GraphBatch
from hmeg.training.paper import whiten_paper
from tests.support.tiny_model import tiny_model

EDGE = 0.25  # of an image of the tiny model: where the zeros around images and features still have influence


def drawn(model, seed=3):
    """Resolution -> image (C, R, R) of a formula."""
    config, random = model.config, torch.Generator().manual_seed(seed)
    graph = parse_latex(r"\frac{a}{b} + 1")
    batch = GraphBatch.from_graphs([graph], typeset=config.layout.prior)
    boxes = torch.randn(len(graph), config.layout.noise_dim, generator=random)
    noise = torch.randn(1, config.image.noise_dim, config.image.size, config.image.size, generator=random)
    with torch.no_grad():
        return {r: image[0] for r, image in model.eval()(batch, boxes, noise)[1].images.items()}


def test_paper_becomes_white_and_all_else_is_only_shifted():
    grey = tiny_model()
    white = copy.deepcopy(grey)
    levels = whiten_paper(white)
    assert levels.keys() == set(grey.config.resolutions)
    assert max(abs(level - 1) for level in levels.values()) > 0.1, "a model whose paper is white already shows nothing"
    assert whiten_paper(copy.deepcopy(white)) == pytest.approx(dict.fromkeys(levels, 1), abs=1e-3)
    before, after = drawn(grey), drawn(white)
    for resolution, image in before.items():
        inner = slice(round(EDGE * resolution), -round(EDGE * resolution))
        shift = (after[resolution] - image)[:, inner, inner]
        torch.testing.assert_close(shift, shift[:, :1, :1].expand_as(shift), atol=1e-4, rtol=0)
        assert float(shift.mean()) == pytest.approx(1 - levels[resolution], abs=1e-4)


def test_training_mode_stays():
    assert whiten_paper(model := tiny_model().train()) and model.training
