"""A page of a report: collected piece by piece, written as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from hmeg.files import write_whole

_PNG = b"\x89PNG\r\n\x1a\n"

Cell = str | int | float | None


class Page:
    """Text, tables, pictures and bars, one below the other, saved as one file.

    The file holds its pictures and its style, no script, and asks for nothing from anywhere (its content security
    policy forbids it). It follows the reader's light or dark colours and fits a phone. All text is shown as it is:
    ``<script>`` in a formula is eight characters. Pieces may be given in any order; memory holds all of them.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._blocks: list[dict[str, Any]] = []
        self._contents: list[str] = []

    def section(self, title: str) -> None:
        """A heading; what comes next stands below it. Two or more make a table of contents."""
        self._contents.append(title)
        self._add("section", title=title, number=len(self._contents))

    def text(self, paragraph: str) -> None:
        """A paragraph."""
        self._add("text", paragraph=paragraph)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """A table; columns that hold numbers only stand to the right. ``ValueError`` for rows of another length.

        Integers are written with separators of thousands, floats with four significant digits, None as a dash; what
        should look otherwise comes as text.
        """
        rows = [tuple(row) for row in rows]
        for row in rows:
            if len(row) != len(headers):
                raise ValueError(f"a row has {len(row)} cells, the table {len(headers)} columns: {row!r}")
        numeric = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(headers))]
        self._add(
            "table", headers=list(headers), rows=[[_shown(cell) for cell in row] for row in rows], numeric=numeric
        )

    def picture(self, image: bytes | Image.Image, caption: str, alt: str | None = None) -> None:
        """A picture: a PNG file's bytes or a Pillow image. ``alt`` says what it shows; else the caption does.

        ``ValueError`` for bytes that are no PNG file.
        """
        self._add("picture", **_picture(image, caption, alt))

    def gallery(self, pictures: Iterable[tuple[bytes | Image.Image, str]]) -> None:
        """Small pictures side by side, as many in a row as fit: (image as for :meth:`picture`, caption) each."""
        self._add("gallery", pictures=[_picture(image, caption, None) for image, caption in pictures])

    def bars(self, title: str, counts: Mapping[str, int | float]) -> None:
        """A histogram: a bar a label, in the order given, as long as its count; an empty one says so.

        ``ValueError`` for counts that are negative or not finite.
        """
        for label, count in counts.items():
            if not (math.isfinite(count) and count >= 0):
                raise ValueError(f"bars show finite counts from 0 on, not {label}: {count}")
        longest = max(counts.values(), default=0) or 1
        bars = [
            {"label": label, "count": count, "value": _shown(count), "percent": f"{100 * count / longest:.2f}"}
            for label, count in counts.items()
        ]
        self._add("bars", title=title, bars=bars)

    def figure(self, svg_text: str, caption: str, alt: str | None = None) -> None:
        """A drawing in SVG, as from matplotlib. Shown as a picture: what scripts it may hold never run."""
        source = "data:image/svg+xml;base64," + base64.b64encode(svg_text.encode()).decode("ascii")
        self._add("picture", source=source, caption=caption, alt=alt or caption, width=None, height=None)

    def html(self) -> str:
        """The page as text: the same for the same pieces."""
        return _template().render(title=self.title, contents=self._contents, blocks=self._blocks)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the page, all of it or nothing. ``OSError`` when the disk says no."""
        # LaTeX from anywhere may hold half a surrogate pair, which no encoding of a file can
        write_whole(Path(path), self.html().encode("utf-8", "replace"))

    def _add(self, kind: str, **values: Any) -> None:
        self._blocks.append({"kind": kind, **values})


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hmeg.reports", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html")


def _picture(image: bytes | Image.Image, caption: str, alt: str | None) -> dict[str, Any]:
    if isinstance(image, bytes):
        if not image.startswith(_PNG):
            raise ValueError("a picture is a PNG file's bytes or a Pillow image; these bytes are no PNG file")
        encoded = image
        with Image.open(io.BytesIO(image)) as opened:
            width, height = opened.size
    else:
        width, height = image.size
        file = io.BytesIO()
        image.save(file, format="PNG", compress_level=4)  # twice as fast as 6, and hardly larger
        encoded = file.getvalue()
    source = "data:image/png;base64," + base64.b64encode(encoded).decode("ascii")
    return {"source": source, "caption": caption, "alt": alt or caption, "width": width, "height": height}


def _is_number(value: Cell) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value
