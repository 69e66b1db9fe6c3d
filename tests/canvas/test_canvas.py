"""Canvases: the one transform between layouts, canvases and pixels, sizes, refusals."""

import numpy as np
import pytest

from hmeg import Canvas
from hmeg.canvas import HALF_PEN, LARGEST, SMALLEST, TooSmallError, without_pen, x_height
from hmeg.graph.latex import parse_latex
from hmeg.graph.typeset import ink_in_x_heights, typeset

EXPRESSIONS = ["x", ".", "-", "y = x^{2}", r"\frac{a+b}{\sqrt{c}}", r"\sum_{i=1}^{n} a_{i}", "a+b+c+d+e+f+g+h=i"]
LONG = "+".join("abcdefghijkl" * 5)
CANVASES = [Canvas.fit(), Canvas.fit(40, "comer", margin=3), Canvas.fixed(512, 128), Canvas.fixed(333, 77, margin=0)]
PEN = 256 * HALF_PEN


def laid_out(latex):
    graph = parse_latex(latex)
    return graph, typeset(graph)


@pytest.mark.parametrize("size", [16, 64, 100, 256])
def test_the_square_is_where_layouts_lie(size):
    graph, boxes = laid_out(r"\frac{a+b}{\sqrt{c}}")
    view = Canvas.square(size).viewport(graph, boxes)
    assert (view.width, view.height, view.shape) == (size, size, (256, 256))
    assert view.in_units(boxes) is boxes
    assert view.in_fractions(boxes) is boxes
    np.testing.assert_allclose(view.in_pixels(boxes), boxes.astype(np.float64) * size, atol=0.005)
    clipped = view.in_pixels(np.array([[-0.1, 0.123456, 0.5, 1.2]]))
    assert clipped.tolist() == [[0, round(0.123456 * size, 2), size / 2, size]]


@pytest.mark.parametrize("canvas", CANVASES, ids=str)
@pytest.mark.parametrize("latex", EXPRESSIONS)
def test_boxes_keep_their_proportions_and_the_pen_its_width(canvas, latex):
    graph, boxes = laid_out(latex)
    view = canvas.viewport(graph, boxes)
    placed = view.in_units(boxes).astype(np.float64) * 256
    ink, before = placed + np.array([PEN, PEN, -PEN, -PEN]), without_pen(boxes.astype(np.float64)) * 256
    np.testing.assert_allclose(ink, before * view.scale + np.array([*view.shift] * 2), atol=1e-3)
    np.testing.assert_allclose(view.in_pixels(view.in_units(boxes)), placed, atol=0.006)
    parts = view.in_fractions(view.in_units(boxes)) * np.array([view.width, view.height] * 2)
    np.testing.assert_allclose(parts, placed, atol=1e-3)


@pytest.mark.parametrize("canvas", CANVASES, ids=str)
@pytest.mark.parametrize("latex", EXPRESSIONS)
def test_ink_lies_in_the_middle_with_its_margin(canvas, latex):
    graph, boxes = laid_out(latex)
    view = canvas.viewport(graph, boxes)
    pixels = view.in_units(boxes).astype(np.float64) * 256
    low, high = pixels[:, :2].min(axis=0), pixels[:, 2:].max(axis=0)
    sides = np.array([view.width, view.height])
    assert (low >= canvas.margin - 1e-3).all()
    np.testing.assert_allclose(low, sides - high, atol=1e-3)
    assert (sides <= [canvas.width, canvas.height]).all()


@pytest.mark.parametrize("latex", EXPRESSIONS)
def test_a_canvas_that_fits_is_the_smallest_of_whole_steps(latex):
    canvas = Canvas.fit(margin=5)
    graph, boxes = laid_out(latex)
    view = canvas.viewport(graph, boxes)
    assert view.shape == (view.height, view.width)
    assert view.width % 16 == view.height % 16 == 0
    pixels = view.in_units(boxes).astype(np.float64) * 256
    needed = pixels[:, 2:].max(axis=0) - pixels[:, :2].min(axis=0) + 10
    assert (np.array([view.width, view.height]) - needed < 16).all()
    assert view.x_height == pytest.approx(canvas.symbol_height)


def test_a_fixed_shape_is_cut_out_of_whole_steps():
    view = Canvas.fixed(333, 77).viewport(*laid_out("x"))
    assert (view.width, view.height, view.shape) == (333, 77, (80, 336))


def test_the_x_height_is_that_of_an_x():
    graph, boxes = laid_out("x = x")
    assert x_height(graph, boxes) == pytest.approx(boxes[0, 3] - boxes[0, 1] - 2 * HALF_PEN, rel=1e-4)
    ink = ink_in_x_heights(graph)
    assert ink[0, 3] - ink[0, 1] == pytest.approx(1, abs=1e-3)
    # it is the main row's where nearly all symbols are smaller
    graph, boxes = laid_out("x^{abcdefgh}")
    main = next(box for label, box in zip(graph.symbols, boxes, strict=True) if label == "x")
    assert x_height(graph, boxes) == pytest.approx(main[3] - main[1] - 2 * HALF_PEN, rel=0.02)


@pytest.mark.parametrize("latex", EXPRESSIONS)
def test_the_typesetter_foretells_the_x_height(latex):
    for canvas in (Canvas.square(), *CANVASES):
        graph, boxes = laid_out(latex)
        assert canvas.x_height_of(graph) == pytest.approx(canvas.viewport(graph, boxes).x_height, rel=0.01)


def test_long_bars_stay_lines():
    graph, boxes = laid_out(rf"\frac{{{LONG}}}{{2}}")
    bar = graph.symbols.index("-")
    boxes[bar, 3] += 0.02  # a hand's bar leans
    units = Canvas.fit().viewport(graph, boxes).in_units(boxes)
    width, height = (units[bar, 2:] - units[bar, :2]) * 256
    assert width > 2000
    assert height < 20
    middle = (units[bar, :2] + units[bar, 2:]) / 2
    assert units[:, 0].min() < middle[0] < units[:, 2].max()


def test_what_is_too_long_is_refused_with_the_size_that_would_do():
    graph = parse_latex(LONG)
    canvas = Canvas.fit(max_size="comer")
    with pytest.raises(
        TooSmallError, match=r"at most 1024x256 its letters would be 5\.6 pixels high, fewer than 10"
    ) as told:
        canvas.check_expression(graph)
    width, height = map(int, str(told.value).split("; ")[1].split(" ")[0].split("x"))
    enough = Canvas.fit(max_size=(width, height))
    enough.check_expression(graph)
    assert enough.viewport(graph, typeset(graph)).x_height >= SMALLEST * 0.99
    with pytest.raises(TooSmallError):
        Canvas.fit(max_size=(width - 64, height)).check_expression(graph)
    with pytest.raises(TooSmallError, match="on a canvas of 512x128 its"):
        Canvas.fixed(512, 128).check_expression(graph)


def test_what_is_never_refused():
    graph = parse_latex(LONG)
    Canvas.square(64).check_expression(graph)
    Canvas.fit(max_size=(256, 64), smallest=0).check_expression(graph)
    Canvas.fit().check_expression(graph)
    assert Canvas.fit(max_size=(256, 64), smallest=0).viewport(graph, typeset(graph)).width <= 256


@pytest.mark.parametrize(
    "canvas", [Canvas.square(), Canvas.square(64), *CANVASES, Canvas.fit(25.5, smallest=0)], ids=str
)
def test_words(canvas):
    assert Canvas.parse(str(canvas)) == canvas


@pytest.mark.parametrize(
    "words", ["", "square", "square:x", "fit", "fit 10x10", "fit 100x, x-height 3, at least 2, margin 1"]
)
def test_other_words(words):
    with pytest.raises(ValueError, match="no canvas"):
        Canvas.parse(words)


def test_sizes_of_recognisers():
    assert (Canvas.fit(max_size="can").width, Canvas.fit(max_size="can").height) == (1600, 320)
    assert (Canvas.fit(max_size="comer").width, Canvas.fit(max_size="comer").height) == (1024, 256)
    assert (Canvas.fit(max_size="640x96").width, Canvas.fit(max_size="640x96").height) == (640, 96)
    assert (Canvas.fit().width, Canvas.fit().height) == LARGEST


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Canvas.fit(23), ValueError, r"symbol height must be in 24\.\.64 pixels, got 23"),
        (lambda: Canvas.fit(65), ValueError, "symbol height must be in"),
        (
            lambda: Canvas.fit(max_size="10"),
            ValueError,
            "a size is WIDTHxHEIGHT in pixels or one of can, comer, not '10'",
        ),
        (lambda: Canvas.fit(max_size=(8, 256)), ValueError, r"width of a canvas must be in 16\.\.8192 pixels, got 8"),
        (lambda: Canvas.fixed(64, 9000), ValueError, "height of a canvas must be in"),
        (lambda: Canvas.fixed(64, 64, margin=32), ValueError, "a margin of 32 pixels leaves nothing of 64x64"),
        (lambda: Canvas.fit(smallest=30), ValueError, r"the least symbol height must be in 0\.\.28 pixels, got 30"),
        (lambda: Canvas.square(25.5), TypeError, "size must be a whole number, got 25.5"),
        (lambda: Canvas("round"), ValueError, "a canvas is square, fit or fixed, not 'round'"),
        (lambda: Canvas("square", 64, 32), ValueError, "a square canvas has equal sides"),
        (lambda: Canvas.square(15).check(256), ValueError, r"size must be in 16\.\.256 pixels"),
    ],
)
def test_what_makes_no_sense(make, error, message):
    with pytest.raises(error, match=message):
        make()
