"""Small hand-made InkML files for tests of data preparation and training."""

from __future__ import annotations

from pathlib import Path

_TEMPLATE = """<ink xmlns="http://www.w3.org/2003/InkML">
<annotation type="truth">{latex}</annotation>
<annotationXML type="truth" encoding="Content-MathML">
<math xmlns="http://www.w3.org/1998/Math/MathML">{mathml}</math>
</annotationXML>
{traces}
<traceGroup xml:id="g"><annotation type="truth">Segmentation</annotation>
{groups}
</traceGroup>
</ink>
"""


def inkml(latex: str, mathml: str, symbols: list[tuple[str, list[list[tuple[float, float]]]]]) -> bytes:
    """An InkML file; ``symbols`` are labels with their strokes, linked to MathML ids s0, s1, ... in order."""
    traces, groups, trace = [], [], 0
    for number, (label, strokes) in enumerate(symbols):
        views = []
        for stroke in strokes:
            points = ", ".join(f"{x} {y}" for x, y in stroke)
            traces.append(f'<trace id="{trace}">{points}</trace>')
            views.append(f'<traceView traceDataRef="{trace}"/>')
            trace += 1
        groups.append(
            f'<traceGroup xml:id="t{number}"><annotation type="truth">{label}</annotation>{"".join(views)}'
            f'<annotationXML href="s{number}"/></traceGroup>'
        )
    return _TEMPLATE.format(latex=latex, mathml=mathml, traces="\n".join(traces), groups="\n".join(groups)).encode()


def x_squared(shift: float = 0.0) -> bytes:
    """x^2: two strokes crossing in x from (0, 100) to (100, 200), the 2 above right of it."""
    return inkml(
        "x^2",
        '<msup><mi xml:id="s0">x</mi><mn xml:id="s1">2</mn></msup>',
        [
            ("x", [[(0, 100), (100, 200)], [(100, 100), (0, 200 + shift)]]),
            ("2", [[(120, 50), (150, 50), (120, 100), (150, 100)]]),
        ],
    )


def one_plus_a() -> bytes:
    """1+a in a row."""
    return inkml(
        "1+a",
        '<mrow><mn xml:id="s0">1</mn><mo xml:id="s1">+</mo><mi xml:id="s2">a</mi></mrow>',
        [
            ("1", [[(0, 0), (0, 50)]]),
            ("+", [[(20, 25), (50, 25)], [(35, 10), (35, 40)]]),
            ("a", [[(90, 20), (70, 20), (70, 50), (90, 50), (90, 20), (95, 52)]]),
        ],
    )


def write_samples(folder: Path, copies: int = 2) -> Path:
    """A folder with ``2 * copies`` good files in sub-folders, one empty file and one that is no XML."""
    for i in range(copies):
        (folder / f"w{i}").mkdir(parents=True, exist_ok=True)
        (folder / f"w{i}" / "a.inkml").write_bytes(x_squared(shift=5.0 * i))
        (folder / f"w{i}" / "b.inkml").write_bytes(one_plus_a())
    (folder / "empty.inkml").write_bytes(b"")
    (folder / "text.inkml").write_bytes(b"not xml")
    return folder
