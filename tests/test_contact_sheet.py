"""The contact sheet: every sample on a card with its LaTeX."""

import numpy as np
import pytest
from PIL import ImageFont

from hmeg.generation.contact_sheet import MAX_SAMPLES, caption_of, contact_sheet, wrapped
from tests.samples import sample


def test_contact_sheet_shows_every_sample():
    one = contact_sheet([sample(0)])
    four = contact_sheet([sample(i) for i in range(4)])
    many = contact_sheet([sample(i, colour=True) for i in range(MAX_SAMPLES + 9)])
    assert (one.mode, many.mode) == ("L", "RGB")
    assert four.width > 3 * one.width
    assert four.height == one.height
    assert many.width > 7 * (one.width - 24)
    assert many.height > 7 * (one.height - 24)
    # the noise of a picture is on its card: far from the colours of page and card
    spread = np.asarray(many.convert("L")).astype(float)
    cell = many.width // 8
    assert all(spread[20:180, column * cell + 30 : (column + 1) * cell - 30].std() > 25 for column in range(8))
    with pytest.raises(ValueError, match="at least one sample"):
        contact_sheet([])


@pytest.mark.parametrize(
    ("latex", "caption"),
    [
        (r"\frac { 1 } { C } = x ^ { 2 } \cos y", r"\frac{1}{C} = x^{2} \cos y"),
        ("y = x^{2}", "y = x^{2}"),
        (None, "x y"),
    ],
)
def test_caption_has_no_needless_blanks(latex, caption):
    assert caption_of(sample(0, latex=latex)) == caption


def test_caption_is_drawn_below_the_picture():
    with_text = np.asarray(contact_sheet([sample(0, latex=r"\frac { a } { b }")]).convert("L"))
    without = np.asarray(contact_sheet([sample(0, latex="")]).convert("L"))
    differing = np.argwhere(with_text != without)
    assert len(differing) > 50
    assert differing[:, 0].min() >= 12 + 8 + 192


@pytest.mark.parametrize(
    "text", ["x", "", "x " * 400, "x" * 5000, "a long \\frac { a } { b } that fills lines", "tab\tnew\nline\x00"]
)
def test_captions_fit(text):
    font = ImageFont.load_default(12)
    lines = wrapped(text, font, 150, 2)
    assert len(lines) <= 2
    assert all(font.getlength(line) <= 150 for line in lines)
    shown = "".join(lines).replace(" ", "")
    wanted = "".join(c if c.isprintable() else " " for c in text).replace(" ", "")
    if shown.endswith("...") and shown != wanted:
        assert wanted.startswith(shown[:-3])
    else:
        assert shown == wanted
