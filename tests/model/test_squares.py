"""Layouts of any shape out of squares: one square is itself, larger canvases have no seams and no far symbols."""

import numpy as np
import pytest
import torch

from hmeg.graph.latex import parse_latex
from hmeg.model.box_coordinates import compose_in_boxes
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.squares import Covering
from tests.support.tiny_model import EXTENDED, TINY, tiny_model

SIDE = EXTENDED.image.mask_size


@pytest.fixture(scope="module")
def model():
    return tiny_model(EXTENDED).image_model


def some(symbols, graphs, seed=0):
    """Boxes in a square, features and batch."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(symbols, 2, generator=generator) * 0.7 + 0.05
    boxes = torch.cat([low, low + 0.05 + 0.2 * torch.rand(symbols, 2, generator=generator)], dim=1)
    return boxes, torch.randn(symbols, 3, generator=generator), torch.arange(symbols) * graphs // symbols


@torch.inference_mode()
def test_one_square_is_what_is_composed_there(model):
    boxes, features, batch = some(7, 3)
    covered = Covering((SIDE, SIDE), SIDE).compose(model.mask_refiner.compose, boxes, features, batch, 3)
    torch.testing.assert_close(covered, model.mask_refiner.compose(boxes, features, batch, 3), rtol=0, atol=0)


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(8, 16), (4, 6), (16, 12), (7, 9)])
def test_a_small_canvas_is_cut_out_of_the_middle(model, shape):
    boxes, features, batch = some(5, 2)
    top, left = (SIDE - shape[0]) // 2, (SIDE - shape[1]) // 2
    on_canvas = boxes - torch.tensor([left, top] * 2) / SIDE
    covered = Covering(shape, SIDE).compose(model.mask_refiner.compose, on_canvas, features, batch, 2)
    whole = model.mask_refiner.compose(boxes, features, batch, 2)
    cut = whole[:, :, top : top + shape[0], left : left + shape[1]]
    torch.testing.assert_close(covered, cut, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 100), (16, 24), (70, 16), (40, 90), (5, 33)])
def test_squares_share_every_cell(shape):
    """What every square gives, squares that all say 1, is 1 everywhere: nothing is left out or counted twice."""

    def ones(boxes, features, batch, squares):
        return torch.ones(squares, 2, SIDE, SIDE)

    boxes, features, batch = torch.tensor([[0.1, 0.1, 0.2, 0.2]]), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)
    covered = Covering(shape, SIDE).compose(ones, boxes, features, batch, 1)
    torch.testing.assert_close(covered, torch.ones(1, 2, *shape))


@torch.inference_mode()
def test_symbols_out_of_reach_change_nothing(model):
    boxes, features, batch = some(4, 1)
    far = torch.cat([boxes, boxes + torch.tensor([4.0, 0, 4, 0])])
    shape = (SIDE, 5 * SIDE)
    compose = model.mask_refiner.compose
    alone = Covering(shape, SIDE).compose(compose, boxes, features, batch, 1)
    both = Covering(shape, SIDE).compose(compose, far, features.repeat(2, 1), torch.zeros(8, dtype=torch.int64), 1)
    near = slice(0, 2 * SIDE)
    torch.testing.assert_close(both[..., near], alone[..., near], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(both[..., 4 * SIDE :], alone[..., 4 * SIDE :], atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("cells", [(SIDE, SIDE), (2 * SIDE, 3 * SIDE), (SIDE // 2, 40)])
def test_box_coordinates_are_those_of_the_square(model, cells):
    """Moved by whole cells, symbols have the same coordinates on a canvas as in the square."""
    boxes, vectors, batch = some(6, 2)
    boxes[:, 1::2] = boxes[:, 1::2] / 2  # also those of a lower canvas
    in_square = compose_in_boxes(vectors, boxes, batch, SIDE, 2)
    on_canvas = compose_in_boxes(vectors, boxes, batch, SIDE, 2, cells)
    rows, columns = min(cells[0], SIDE), min(cells[1], SIDE)
    torch.testing.assert_close(on_canvas[:, :, :rows, :columns], in_square[:, :, :rows, :columns], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(32, 160), (96, 48), (64, 128)])
def test_glyphs_are_those_of_the_square(model, shape):
    graph = GraphBatch.from_graphs([parse_latex("x+1")])
    boxes = torch.tensor([[0.1, 0.1, 0.2, 0.3], [0.3, 0.15, 0.4, 0.25], [0.5, 0.1, 0.52, 0.3]])
    square = model.compose(graph, boxes).glyphs
    canvas = model.compose(graph, boxes, None, shape)
    assert canvas.glyphs.shape == (1, EXTENDED.glyph.channels, *shape)
    assert canvas.nodes.shape[2:] == canvas.in_boxes.shape[2:] == (shape[0] // 4, shape[1] // 4)
    rows, columns = min(shape[0], 64), min(shape[1], 64)
    torch.testing.assert_close(canvas.glyphs[..., :rows, :columns], square[..., :rows, :columns], rtol=0, atol=0)


@torch.inference_mode()
def test_many_glyphs_are_placed_in_parts(model, monkeypatch):
    from hmeg.model import glyphs

    graph = GraphBatch.from_graphs([parse_latex("a+b+c+d"), parse_latex("x+1")])
    boxes = some(10, 2)[0]
    at_once = model.compose(graph, boxes, None, (64, 128)).glyphs
    monkeypatch.setattr(glyphs, "_AT_ONCE", 3 * 64 * 128)
    torch.testing.assert_close(model.compose(graph, boxes, None, (64, 128)).glyphs, at_once, rtol=0, atol=1e-6)


def test_published_models_have_canvases_too():
    """Without any of the extensions."""
    graph = GraphBatch.from_graphs([parse_latex("x+1")])
    with torch.inference_mode():
        made = tiny_model(TINY).image_model.compose(graph, some(3, 1)[0], None, (32, 96))
    assert made.in_boxes is None
    assert made.glyphs is None
    assert np.isfinite(made.nodes.numpy()).all()
    assert made.nodes.shape == (1, TINY.image.gconv_dim, 8, 24)
