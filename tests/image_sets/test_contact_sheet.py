"""The contact sheet: every sample on a card with its LaTeX."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from hmeg.image_sets.contact_sheet import Card, caption, contact_sheet, read_contact_sheet, wrapped, write_contact_sheet
from tests.support.samples import sample


def test_contact_sheet_shows_every_sample():
    one = contact_sheet([Card.of(0, sample(0))])
    four = contact_sheet([Card.of(i, sample(i)) for i in range(4)])
    many = contact_sheet([Card.of(i, sample(i, colour=i > 7)) for i in range(64)])
    assert (one.mode, many.mode) == ("L", "RGB")
    assert four.width > 3 * one.width
    assert four.height == one.height
    assert many.width > 7 * (one.width - 24)
    assert many.height > 7 * (one.height - 24)
    # the noise of a picture is on its card: far from the colours of page and card
    spread = np.asarray(many.convert("L")).astype(float)
    cell = many.width // 8
    assert all(spread[20:180, column * cell + 30 : (column + 1) * cell - 30].std() > 25 for column in range(8))
    with pytest.raises(ValueError, match="at least one card"):
        contact_sheet([])


@pytest.mark.parametrize(
    ("latex", "wanted"),
    [
        (r"\frac { 1 } { C } = x ^ { 2 } \cos y", r"\frac{1}{C} = x^{2} \cos y"),
        ("y = x^{2}", "y = x^{2}"),
        (None, "x y"),
    ],
)
def test_caption_has_no_needless_blanks(latex, wanted):
    assert caption(latex, ["x", "y"]) == wanted


@pytest.mark.parametrize("colour", [False, True])
def test_file_says_what_is_on_it(tmp_path, colour):
    path = tmp_path / "sheet.png"
    cards = [Card.of(4 * i, sample(i, f"\\frac{{é}}{{{i}}}" + "x" * 2000 * (i == 3), colour)) for i in range(10)]
    path.write_bytes(write_contact_sheet(cards))
    read = read_contact_sheet(path)
    assert [card.number for card in read] == [4 * i for i in range(10)]
    assert read[1].caption == r"\frac{é}{1}"
    assert read[3].caption == r"\frac{é}{3}" + "x" * 986 + "..."
    for card, was in zip(read, cards, strict=True):
        np.testing.assert_array_equal(
            np.asarray(card.picture), np.asarray(was.picture.resize((192, 192), Image.Resampling.LANCZOS))
        )
    contact_sheet(cards).save(path)
    assert read_contact_sheet(path) == []  # as versions before wrote it


def test_caption_is_drawn_below_the_picture():
    with_text = np.asarray(contact_sheet([Card.of(0, sample(0, latex=r"\frac { a } { b }"))]).convert("L"))
    without = np.asarray(contact_sheet([Card.of(0, sample(0, latex=""))]).convert("L"))
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
