"""Strokes to images: frame, ink, boxes."""

from __future__ import annotations

import numpy as np
import pytest

from hmeg.data.render import draw_strokes, fit_frame, render

LINE = np.array([[0.0, 0.0], [100.0, 0.0]])
DOT = np.array([[50.0, 40.0]])


def test_frame_keeps_aspect_centres_and_leaves_the_margin() -> None:
    frame = fit_frame([np.array([[10.0, 20.0], [210.0, 70.0]])], size=256, margin=8)
    low, high = frame.apply(np.array([[10.0, 20.0], [210.0, 70.0]]))
    assert frame.scale == pytest.approx(240 / 200)
    assert low == pytest.approx([8, 128 - 30])
    assert high == pytest.approx([248, 128 + 30])


def test_ink_without_extent_lies_in_the_middle() -> None:
    assert fit_frame([DOT], 64, 4).apply(DOT)[0] == pytest.approx([32, 32])


def test_no_point_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no ink"):
        fit_frame([np.zeros((0, 2))], 64, 4)


def test_a_line_is_as_wide_as_asked_for_and_black_inside() -> None:
    image = draw_strokes([np.array([[10.0, 32.0], [54.0, 32.0]])], size=64, stroke_width=4)
    assert image.shape == (64, 64) and image.dtype == np.uint8
    column = 255 - image[:, 32].astype(int)
    assert column.sum() / 255 == pytest.approx(4, abs=0.5)
    assert image[32, 32] == 0 and image[0, 0] == 255


def test_edges_are_anti_aliased() -> None:
    image = draw_strokes([np.array([[5.0, 9.0], [58.0, 50.0]])], size=64, stroke_width=2.5)
    assert len(np.unique(image)) > 6


def test_one_point_makes_a_dot() -> None:
    image = draw_strokes([np.array([[20.0, 30.0]])], size=64, stroke_width=4)
    rows, columns = np.nonzero(image < 128)
    assert rows.mean() == pytest.approx(29.5, abs=0.6) and columns.mean() == pytest.approx(19.5, abs=0.6)
    assert len(rows) == pytest.approx(np.pi * 4, abs=4)


def test_boxes_surround_the_ink_of_their_symbol() -> None:
    strokes = [np.array([[0.0, 0.0], [40.0, 60.0]]), np.array([[80.0, 10.0], [120.0, 50.0]]), DOT + 500]
    image, boxes = render(strokes, [(0,), (1,)], size=128, stroke_width=2, margin=6)
    assert boxes.shape == (2, 4) and boxes.dtype == np.float32
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    dark = image < 250
    for x0, y0, x1, y1 in boxes * 128:  # a pixel more all round: the pen's width is rounded to quarter pixels
        inside = np.s_[int(y0) - 1 : int(np.ceil(y1)) + 1, int(x0) - 1 : int(np.ceil(x1)) + 1]
        assert dark[inside].any()
        dark[inside] = False
    assert not dark.any(), "ink outside all boxes: the stroke in no symbol must not be drawn"


def test_a_symbol_without_ink_is_named() -> None:
    with pytest.raises(ValueError, match="symbol 1 has no ink"):
        render([LINE], [(0,), ()])


def test_short_formulas_do_not_fill_the_image() -> None:
    big = [np.array([[0.0, 0.0], [30.0, 60.0]])]
    image, boxes = render(big, [(0,)], size=256, stroke_width=2, margin=6, symbol_side=80)
    assert (boxes[0, 3] - boxes[0, 1]) * 256 == pytest.approx(82, abs=0.1)
    assert (boxes[0, :2] + boxes[0, 2:]) / 2 == pytest.approx([0.5, 0.5], abs=1e-3)
    assert image[128 - 45].min() == 255 and image[128].min() < 128
    _, unlimited = render(big, [(0,)], size=256, stroke_width=2, margin=6, symbol_side=1000)
    assert (unlimited[0, 3] - unlimited[0, 1]) * 256 == pytest.approx(246, abs=0.1)


def test_long_formulas_are_not_touched_by_the_limit() -> None:
    row = [np.array([[40.0 * i, 0.0], [40.0 * i + 20, 20.0]]) for i in range(8)]
    limited, _ = render(row, [(i,) for i in range(8)], symbol_side=80)
    free, _ = render(row, [(i,) for i in range(8)], symbol_side=1000)
    assert np.array_equal(limited, free)
