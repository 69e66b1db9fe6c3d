"""One page of structures as the typesetter sets them: ``python -m tools.structure_sheet OUT.png``.

Every field shows LaTeX and the boxes of its symbols, with their names; cells, which leave no ink, are grey.
"""

from __future__ import annotations

from pathlib import Path

import click
from PIL import Image, ImageDraw, ImageFont

from hmeg.graph.latex import parse_latex
from hmeg.graph.typeset import typeset

EXAMPLES = (
    r"\hat{x} + \dot{y}",
    r"\overline{AB} = \vec{v}",
    r"\underline{a + b}_{1}",
    r"\overbrace{a + b}^{n}",
    r"\overset{\frown}{AB}",
    r"A \xrightarrow[c]{d + e} B",
    r"a \overset{!}{=} b",
    r"\max_{x} f(x)",
    r"\textcircled{1} \boxed{a + b}",
    r"\binom{n}{k}",
    r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}",
    r"f = \begin{cases} x & x > 0 \\ 0 & x \leq 0 \end{cases}",
    r"\begin{aligned} a + b &= c \\ d &= e + f \end{aligned}",
    r"\left\langle \psi | \phi \right\rangle",
    r"\prod_{i}^{n} \oint_{C} \omega",
    r"\sum_{\substack{i \\ j}} x",
)
_SIDE, _COLUMNS, _TITLE = 260, 4, 18


def sheet(examples: tuple[str, ...] = EXAMPLES) -> Image.Image:
    """The page, four fields in a row."""
    rows = -(-len(examples) // _COLUMNS)
    page = Image.new("L", (_COLUMNS * _SIDE, rows * _SIDE), 255)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(10)
    for number, latex in enumerate(examples):
        left, top = number % _COLUMNS * _SIDE, number // _COLUMNS * _SIDE
        draw.rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), outline=220)
        draw.text((left + 4, top + 3), latex if len(latex) < 44 else latex[:41] + "...", fill=90, font=font)
        graph = parse_latex(latex)
        inner = _SIDE - _TITLE
        for label, box in zip(graph.symbols, typeset(graph), strict=True):
            x0, y0, x1, y1 = (float(edge) * inner for edge in box)
            place = (left + 9 + x0, top + _TITLE + y0, left + 9 + x1, top + _TITLE + y1)
            draw.rectangle(place, outline=200 if label == "&" else 0)
            if label not in ("&", r"\bigcirc", r"\square"):
                middle = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
                draw.text(middle, label.lstrip("\\")[:7], fill=0, anchor="mm", font=font)
    return page


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def main(out: Path) -> None:
    """Write the page to OUT."""
    sheet().save(out, optimize=True)


if __name__ == "__main__":
    main()
