"""A contact sheet: many samples on one page, each on a card with its LaTeX below."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from .sample import Sample

MAX_SAMPLES = 64

_PAGE = (236, 238, 241)
_CARD = (255, 255, 255)
_EDGE = (208, 212, 218)
_CAPTION = (72, 78, 88)

_PICTURE = 192  # side of a picture on the sheet, pixels
_PADDING = 8
_GAP = 12
_CAPTION_SIZE = 12
_CAPTION_LINES = 2
_LINE_HEIGHT = 16
_CARD_SIZE = (_PICTURE + 2 * _PADDING, _PICTURE + 2 * _PADDING + _CAPTION_LINES * _LINE_HEIGHT)


def contact_sheet(samples: Sequence[Sample]) -> Image.Image:
    """A page with the first :data:`MAX_SAMPLES` of ``samples``; ``ValueError`` if there is none.

    RGB, or L where all samples are grey: that is encoded in less than half the time.
    """
    if not samples:
        raise ValueError("a contact sheet needs at least one sample")
    samples = samples[:MAX_SAMPLES]
    columns = _columns(len(samples))
    rows = math.ceil(len(samples) / columns)
    width, height = _CARD_SIZE
    mode = "L" if all(sample.array.ndim == 2 for sample in samples) else "RGB"
    page_colour, card, edge, text = (_in_mode(mode, colour) for colour in (_PAGE, _CARD, _EDGE, _CAPTION))
    page = Image.new(mode, (columns * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP), page_colour)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(_CAPTION_SIZE)
    for i, sample in enumerate(samples):
        x, y = _corner(i, columns)
        draw.rounded_rectangle((x, y, x + width - 1, y + height - 1), radius=6, fill=card, outline=edge)
        picture = sample.image.convert(mode).resize((_PICTURE, _PICTURE), Image.Resampling.LANCZOS)
        page.paste(picture, (x + _PADDING, y + _PADDING))
        lines = wrapped(caption_of(sample), font, _PICTURE, _CAPTION_LINES)
        first = y + _PADDING + _PICTURE + _PADDING // 2 + (_CAPTION_LINES - len(lines)) * _LINE_HEIGHT / 2
        for n, line in enumerate(lines):
            middle = (x + width / 2, first + (n + 0.5) * _LINE_HEIGHT)
            draw.text(middle, line, fill=text, font=font, anchor="mm")
    return page


def pictures_of(page: Image.Image, count: int) -> list[Image.Image]:
    """The pictures on a page that :func:`contact_sheet` made of ``count`` samples, without their cards."""
    columns = _columns(count)
    corners = [_corner(i, columns) for i in range(count)]
    return [
        page.crop((x + _PADDING, y + _PADDING, x + _PADDING + _PICTURE, y + _PADDING + _PICTURE)) for x, y in corners
    ]


def caption_of(sample: Sample) -> str:
    """See :func:`caption`."""
    return caption(sample.latex, sample.graph.symbols)


def caption(latex: str | None, symbols: Sequence[str]) -> str:
    """LaTeX without the blanks that only part tokens, or the symbols where there is no LaTeX."""
    if latex is None:
        return " ".join(symbols)
    return re.sub(r"(?<=[{_^]) +| +(?=[{}_^])", "", latex)


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float, lines: int) -> list[str]:
    """``text`` in at most ``lines`` lines no wider than ``width`` pixels, broken at blanks where it can be.

    What does not fit is cut off with three dots. Control characters are shown as blanks.
    """
    # The end of a very long text is never seen; measuring it would only take time.
    rest = "".join(c if c.isprintable() else " " for c in text[: 40 * lines * _CAPTION_SIZE]).strip()
    broken: list[str] = []
    while rest and len(broken) < lines:
        fitting = _fitting(rest, font, width)
        if fitting < len(rest):
            if len(broken) == lines - 1:
                broken.append(rest[: _fitting(rest, font, width - font.getlength("..."))].rstrip() + "...")
                break
            blank = rest.rfind(" ", 1, fitting + 1)
            fitting = blank if blank > 0 else fitting
        broken.append(rest[:fitting].rstrip())
        rest = rest[fitting:].lstrip()
    return broken


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> int:
    """How many characters of ``text`` fit; at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle]) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def _in_mode(mode: str, colour: tuple[int, int, int]) -> tuple[int, int, int] | int:
    return colour if mode == "RGB" else round(sum(colour) / 3)


def _corner(i: int, columns: int) -> tuple[int, int]:
    """Upper left corner of card ``i``."""
    width, height = _CARD_SIZE
    return _GAP + (i % columns) * (width + _GAP), _GAP + (i // columns) * (height + _GAP)


def _columns(count: int) -> int:
    """Columns of a page a little wider than tall, at most eight; few samples stand in one row."""
    return count if count <= 4 else min(8, math.ceil(math.sqrt(count)))
