"""Messages show what people wrote, backslash for backslash."""

import pytest

from hmeg.data.inkml import InkmlError, read_inkml
from hmeg.graph.label_graph import LabelGraphError, read_lg
from hmeg.graph.latex import parse_latex
from hmeg.graph.vocabulary import symbol_id
from hmeg.quoting import quoted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x", "'x'"),
        ("", "''"),
        (r"\frac{a}{b}", r"'\frac{a}{b}'"),
        ("f'", '''"f'"'''),
        ("\"'", "'\"''"),
        ("∫é", "'∫é'"),
        ("a\nb\x1b[31m\u202e\ud800", r"'a\nb\x1b[31m\u202e\ud800'"),
        ("x" * 100, "'" + "x" * 100 + "'"),
        ("x" * 101, "'" + "x" * 97 + "...'"),
    ],
)
def test_quoted(text, wanted):
    assert quoted(text) == wanted
    wanted.encode()  # any terminal may be given it


@pytest.mark.parametrize(
    ("latex", "wanted"),
    [
        ("\u4e2d", "symbol '\u4e2d' is"),
        (r"\left( x", r"'\left' is not closed"),
        (r"x \right)", r"'\right' closes nothing"),
        (r"x \\ y", r"'\\'"),
        (r"\nonsense", r"'\nonsense'"),
        ("\\" + "a" * 5000, "aaa..."),
    ],
)
def test_latex(latex, wanted):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is what is asked about
        parse_latex(latex)
    assert wanted in str(error.value)
    assert len(str(error.value)) < 300


def test_other_readers():
    with pytest.raises(LabelGraphError, match=r"symbol '\\foo' is"):
        read_lg("O, a, \\foo, 1.0, 0\n")
    with pytest.raises(ValueError, match=r"symbol '\\hbar' is"):
        symbol_id(r"\hbar")
    ink = '<ink><trace id="0">0 0, 1 1</trace><traceGroup><traceGroup><annotation type="truth">\\foo</annotation>'
    ink += '<traceView traceDataRef="0"/></traceGroup></traceGroup></ink>'
    with pytest.raises(InkmlError, match=r"symbol '\\foo' is"):
        read_inkml(ink.encode())
