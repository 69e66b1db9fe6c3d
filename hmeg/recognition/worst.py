"""The expressions that were read worst: as JSON lines for programs, as a page of pictures for people."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hmeg.files import write_whole
from hmeg.image_sets.contact_sheet import wrapped

from .data import RecognitionData
from .edits import Edit, aligned
from .preparation import Preparation
from .recogniser import Reading

LINES, SHEET = "worst.jsonl", "worst.png"
_SHOWN = 24
_EDITS = 20  # of a sample; a reading that never ends has hundreds
_COLUMNS = 3
_WIDTH, _HEIGHT = 320, 150  # of a picture on the sheet, pixels
_PADDING, _LINE, _TEXT = 10, 15, 12
_TEXT_LINES = 2
_PAGE, _CARD, _EDGE = (236, 238, 241), (255, 255, 255), (208, 212, 218)
_CUT = Preparation(trim=12)  # symbols are small on whole pages
_COLOURS = {"reference": (30, 110, 60), "prediction": (170, 40, 40), "note": (110, 116, 126)}


@dataclass(frozen=True)
class _Case:
    name: str
    reference: Sequence[str]
    prediction: Sequence[str]
    distance: int
    edits: list[Edit]
    image: np.ndarray


def write_worst(
    folder: Path, data: RecognitionData, readings: Sequence[Reading], distances: Sequence[int], count: int
) -> None:
    """Writes worst.jsonl and worst.png: at most ``count`` expressions that were read wrong, the worst first.

    Worst is most edits for the length of its label. A line has name, reference, prediction, distance and edits: objects
    of kind (replace, insert, delete), position in the reference, and the tokens; the first 20, and more_edits says how
    many there are beside them. No worst.png if all was read right.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wrong = [row for row, distance in enumerate(distances) if distance]
    wrong.sort(key=lambda row: (-distances[row] / max(1, len(data.tokens[row])), -distances[row], row))
    cases = [
        _Case(data.names[row], data.tokens[row], readings[row].tokens, distances[row],
              aligned(data.tokens[row], readings[row].tokens), data.image(row))
        for row in wrong[:count]
    ]  # fmt: skip
    write_whole(folder / LINES, "".join(json.dumps(_line(case)) + "\n" for case in cases).encode())
    if not cases:
        (folder / SHEET).unlink(missing_ok=True)
        return
    target = io.BytesIO()
    _sheet(cases[:_SHOWN]).save(target, format="PNG")
    write_whole(folder / SHEET, target.getvalue())


def _line(case: _Case) -> dict[str, object]:
    edits, position = [], 0
    for kind, wanted, got in case.edits:
        if kind != "same":
            edits.append({"kind": kind, "position": position, "reference": wanted, "prediction": got})
        position += kind != "insert"
    return {
        "name": case.name,
        "distance": case.distance,
        "reference": " ".join(case.reference),
        "prediction": " ".join(case.prediction),
        "edits": edits[:_EDITS],
        "more_edits": len(edits[_EDITS:]),
    }


def _sheet(cases: Sequence[_Case]) -> Image.Image:
    """A page of cards: the image, what it says, what was read."""
    columns = min(_COLUMNS, len(cases))
    width, height = _WIDTH + 2 * _PADDING, _HEIGHT + 3 * _PADDING + (2 * _TEXT_LINES + 1) * _LINE
    rows = -(-len(cases) // columns)
    page = Image.new("RGB", (columns * (width + _PADDING) + _PADDING, rows * (height + _PADDING) + _PADDING), _PAGE)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_TEXT)
    for number, case in enumerate(cases):
        x = _PADDING + number % columns * (width + _PADDING)
        y = _PADDING + number // columns * (height + _PADDING)
        draw.rounded_rectangle((x, y, x + width - 1, y + height - 1), radius=6, fill=_CARD, outline=_EDGE)
        picture = Image.fromarray(255 - _CUT(case.image)).convert("RGB")
        picture.thumbnail((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
        page.paste(picture, (x + (width - picture.width) // 2, y + _PADDING + (_HEIGHT - picture.height) // 2))
        top = y + _HEIGHT + 2 * _PADDING
        for kind, text, lines in (
            ("reference", f"label: {' '.join(case.reference)}", _TEXT_LINES),
            ("prediction", f"read: {' '.join(case.prediction) or '(nothing)'}", _TEXT_LINES),
            ("note", f"{case.distance} edits, {case.name}", 1),
        ):
            for line in wrapped(text, font, _WIDTH, lines):
                draw.text((x + _PADDING, top), line, fill=_COLOURS[kind], font=font)
                top += _LINE
    return page
