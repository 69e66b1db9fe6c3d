"""A contact sheet: many samples on one page, each on a card with its LaTeX below."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from .sample import Sample

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


_LONGEST_CAPTION = 1000  # Pillow reads no more than 1 MiB of text from a PNG file
_KEYWORD = "hmeg-cards"  # of the text in the file that says what is on the page


@dataclass(frozen=True, eq=False)
class Card:
    """What a contact sheet shows of a sample: its number in the run, its caption, and its picture.

    The picture is no larger than on the sheet; a smaller one is enlarged there.
    """

    number: int
    caption: str
    picture: Image.Image

    @staticmethod
    def of(number: int, sample: Sample) -> Card:
        text = caption(sample.latex, sample.graph.symbols)
        text = text if len(text) <= _LONGEST_CAPTION else text[: _LONGEST_CAPTION - 3] + "..."
        return Card(number, text, sample.image if max(sample.shape) <= _PICTURE else _on_sheet(sample.image))


def write_contact_sheet(cards: Sequence[Card]) -> bytes:
    """:func:`contact_sheet` as a PNG file, which holds the numbers and captions of its cards beside."""
    told = PngInfo()
    told.add_text(_KEYWORD, json.dumps([[card.number, card.caption] for card in cards]), zip=True)
    encoded = io.BytesIO()
    contact_sheet(cards).save(encoded, format="PNG", compress_level=4, pnginfo=told)  # twice as fast as 6
    return encoded.getvalue()


def read_contact_sheet(path: Path) -> list[Card]:
    """The cards of :func:`write_contact_sheet`; none from a picture that does not say what is on it."""
    with Image.open(path) as page:
        page.load()  # also what stands behind the pixels
        told = json.loads(page.info.get(_KEYWORD, "[]"))
        columns = _columns(len(told))
        cards = []
        for i, (number, text) in enumerate(told):
            x, y = (corner + _PADDING for corner in _corner(i, columns))
            cards.append(Card(number, text, page.crop((x, y, x + _PICTURE, y + _PICTURE))))
    return cards


def contact_sheet(cards: Sequence[Card]) -> Image.Image:
    """A page with these cards; ``ValueError`` if there is none.

    RGB, or L where all pictures are grey: that is encoded in less than half the time.
    """
    if not cards:
        raise ValueError("a contact sheet needs at least one card")
    columns = _columns(len(cards))
    rows = math.ceil(len(cards) / columns)
    width, height = _CARD_SIZE
    mode = "L" if all(card.picture.mode == "L" for card in cards) else "RGB"
    page_colour, fill, edge, text = (_in_mode(mode, colour) for colour in (_PAGE, _CARD, _EDGE, _CAPTION))
    page = Image.new(mode, (columns * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP), page_colour)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(_CAPTION_SIZE)
    for i, card in enumerate(cards):
        x, y = _corner(i, columns)
        draw.rounded_rectangle((x, y, x + width - 1, y + height - 1), radius=6, fill=fill, outline=edge)
        page.paste(_on_sheet(card.picture.convert(mode)), (x + _PADDING, y + _PADDING))
        lines = wrapped(card.caption, font, _PICTURE, _CAPTION_LINES)
        first = y + _PADDING + _PICTURE + _PADDING // 2 + (_CAPTION_LINES - len(lines)) * _LINE_HEIGHT / 2
        for n, line in enumerate(lines):
            middle = (x + width / 2, first + (n + 0.5) * _LINE_HEIGHT)
            draw.text(middle, line, fill=text, font=font, anchor="mm")
    return page


def _on_sheet(picture: Image.Image) -> Image.Image:
    """The picture as large as fits on a card, in the middle of paper."""
    scale = _PICTURE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    fitting = picture.resize((width, height), Image.Resampling.LANCZOS)
    if width == height:
        return fitting
    card = Image.new(picture.mode, (_PICTURE, _PICTURE), _in_mode(picture.mode, _CARD))
    card.paste(fitting, ((_PICTURE - width) // 2, (_PICTURE - height) // 2))
    return card


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
