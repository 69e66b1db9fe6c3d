"""InkML -> strokes, segmentation and graph: the format's traits, its faults, CROHME's archives."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hmeg.data.inkml import InkmlError, read_inkml
from hmeg.data.sources import iter_files
from hmeg.graph.symbol_graph import Relation, SymbolGraph

XML = "http://www.w3.org/XML/1998/namespace"
SQUARE = '<msup><mi xml:id="x:1">x</mi><mn xml:id="2_1">2</mn></msup>'


def ink_document(math=SQUARE, traces=None, groups=None, head="", channels="") -> bytes:
    """A small InkML file: ``x`` of two strokes with an exponent ``2``, unless told otherwise."""
    if traces is None:
        traces = {"0": "0 10, 10 20", "1": "10 10, 0 20", "2": "12 4, 16 8"}
    if groups is None:
        groups = [("x", "x:1", "0 1"), ("2", "2_1", "2")]
    traces = "".join(f'<trace id="{key}">\n{points}\n</trace>' for key, points in traces.items())
    parts = "".join(
        f'<traceGroup xml:id="g{i}"><annotation type="truth">{label}</annotation>'
        + "".join(f'<traceView traceDataRef="{stroke}"/>' for stroke in strokes.split())
        + (f'<annotationXML href="{href}"/>' if href else "")
        + "</traceGroup>"
        for i, (label, href, strokes) in enumerate(groups)
    )
    return (
        f'<ink xmlns="http://www.w3.org/2003/InkML">{channels}{head}'
        f'<annotationXML type="truth" encoding="Content-MathML">'
        f'<math xmlns="http://www.w3.org/1998/Math/MathML">{math}</math></annotationXML>{traces}'
        f'<traceGroup xml:id="all"><annotation type="truth">Segmentation</annotation>{parts}</traceGroup></ink>'
    ).encode()


def test_strokes_segmentation_graph_and_boxes():
    head = '<annotation type="truth">$x^2$</annotation><annotation type="writer"> w1 </annotation>'
    ink = read_inkml(ink_document(head=head), "one.inkml")
    assert (ink.name, ink.latex, ink.writer) == ("one.inkml", "$x^2$", "w1")
    assert ink.graph == SymbolGraph(("x", "2"), (Relation(0, 1, "Sup"),))
    assert ink.graph.latex == "$x^2$"
    assert ink.symbol_strokes == ((0, 1), (2,))
    assert ink.stroke_ids == ("0", "1", "2")
    assert [stroke.tolist() for stroke in ink.strokes[:2]] == [[[0, 10], [10, 20]], [[10, 10], [0, 20]]]
    assert all(stroke.dtype == np.float64 for stroke in ink.strokes)
    assert ink.symbol_boxes().tolist() == [[0, 10, 10, 20], [12, 4, 16, 8]]


def test_annotations_may_be_missing():
    ink = read_inkml(ink_document())
    assert (ink.latex, ink.writer) == (None, None)


def test_symbols_are_in_reading_order_whatever_the_order_of_groups():
    ink = read_inkml(ink_document(groups=[("2", "2_1", "2"), ("x", "x:1", "1 0")]))
    assert ink.graph.symbols == ("x", "2")
    assert ink.symbol_strokes == ((0, 1), (2,))


def test_label_of_the_group_is_right_where_the_text_differs():
    math = r'<mi xml:id="r">rarr</mi><mo xml:id="d">?</mo>'
    groups = [(r"\rightarrow", "r", "0 1"), (r"\infty", "d", "2")]
    assert read_inkml(ink_document(math, groups=groups)).graph.symbols == (r"\rightarrow", r"\infty")


def test_fraction_bar_and_root_are_linked_by_their_elements():
    math = '<mfrac xml:id="_1"><msqrt xml:id="_2"><mi xml:id="a">a</mi></msqrt><mi xml:id="b">b</mi></mfrac>'
    traces = {str(i): f"{i} {i}" for i in range(4)}
    groups = [("-", "_1", "3"), (r"\sqrt", "_2", "0"), ("a", "a", "1"), ("b", "b", "2")]
    ink = read_inkml(ink_document(math, traces, groups))
    assert ink.graph.symbols == ("-", r"\sqrt", "a", "b")
    assert [r.name for r in ink.graph.relations] == ["Above", "Inside", "Below"]
    assert ink.symbol_strokes == ((3,), (0,), (1,), (2,))


def test_channels_decimals_dots_and_line_breaks():
    three = '<traceFormat><channel name="T"/><channel name="X"/><channel name="Y"/></traceFormat>'
    traces = {"0": "7 0.5 -1e1,\n8 1.25 20", "1": "1 3 4", "2": "0 5 6, 1 7 8,"}
    ink = read_inkml(ink_document(traces=traces, channels=three))
    assert [s.tolist() for s in ink.strokes] == [[[0.5, -10], [1.25, 20]], [[3, 4]], [[5, 6], [7, 8]]]
    # Declared X, Y and a force, held X and Y: MfrDB does so.
    force = '<traceFormat><channel name="X"/><channel name="Y"/><channel name="F"/></traceFormat>'
    assert read_inkml(ink_document(channels=force)).strokes[0].tolist() == [[0, 10], [10, 20]]


@pytest.mark.parametrize(
    "coded",
    [
        "125 125,'1 '1,2 3,!130 '0",
        "125 125,'1'1,2 3, !130'0",
        '125 125, 126 126, "1"1, 1"-4',
    ],
)
def test_difference_coding(coded):
    plain = [(125, 125), (126, 126), (128, 129), (130, 129)]
    if '"' in coded:
        plain = [(125, 125), (126, 126), (127, 127), (129, 124)]
    ink = read_inkml(ink_document(traces={"0": coded, "1": "0 0, 1 1", "2": "5 5"}))
    np.testing.assert_array_equal(ink.strokes[0], plain)


def test_ink_that_is_not_divided_into_symbols():
    label = '<annotation type="label">y</annotation><annotation type="normalizedLabel">x^2</annotation>'
    data = f'<ink>{label}<trace id="a">0 0, 1 1</trace></ink>'.encode()
    with pytest.raises(InkmlError, match="no segmentation into symbols"):
        read_inkml(data)
    ink = read_inkml(data, segmented=False)
    assert (ink.graph.symbols, ink.latex, ink.symbol_strokes, len(ink.strokes)) == (("x", "2"), "x^2", (), 1)
    with pytest.raises(InkmlError, match="neither a segmentation into symbols nor LaTeX"):
        read_inkml(data.replace(b"annotation", b"note"), segmented=False)
    with pytest.raises(InkmlError, match="second superscript"):
        read_inkml(data.replace(b"x^2", b"x^2^3"), segmented=False)


def test_bare_siblings_and_no_namespace():
    data = ink_document().decode()
    start, end = data.index("<math"), data.index("</annotationXML>")
    data = data[:start] + '<math><mrow><mi xml:id="x:1">x</mi></mrow></math><mn xml:id="2_1">2</mn>' + data[end:]
    assert read_inkml(data.encode()).graph == SymbolGraph(("x", "2"), (Relation(0, 1, "Right"),))


def test_strokes_in_no_symbol_are_kept_as_strokes():
    traces = {"0": "0 10, 10 20", "1": "10 10, 0 20", "2": "12 4, 16 8", "slip": "100 100"}
    ink = read_inkml(ink_document(traces=traces))
    assert len(ink.strokes) == 4
    assert sorted(sum(ink.symbol_strokes, ())) == [0, 1, 2]
    # A labelled group that points nowhere and is not in the formula is what the writer struck out.
    groups = [("x", "x:1", "0 1"), ("2", "2_1", "2"), ("-", None, "slip")]
    struck_out = read_inkml(ink_document(traces=traces, groups=groups))
    assert struck_out.graph == ink.graph
    assert struck_out.symbol_strokes == ink.symbol_strokes


def test_symbol_without_a_link_takes_the_only_free_group_of_its_label():
    groups = [("x", None, "0 1"), ("2", "wrong", "2")]
    assert read_inkml(ink_document(groups=groups)).symbol_strokes == ((0, 1), (2,))


def test_ids_used_twice_are_told_apart_by_place_on_the_base_line():
    math = '<mn xml:id="1">1</mn><mo xml:id="+_1">+</mo><mn xml:id="2">2</mn><mo xml:id="+_1">+</mo>'
    traces = {"0": "0 0, 1 1", "1": "30 0, 31 1", "2": "20 0, 21 1", "3": "10 0, 11 1"}
    groups = [("1", "1", "0"), ("+", "+_1", "1"), ("2", "2", "2"), ("+", "+_1", "3")]
    ink = read_inkml(ink_document(math, traces, groups))
    assert ink.graph.symbols == ("1", "+", "2", "+")
    assert ink.symbol_strokes == ((0,), (3,), (2,), (1,))
    # One above the other there is no telling.
    traces["3"] = "30 10, 31 11"
    with pytest.raises(InkmlError, match="cannot be told"):
        read_inkml(ink_document(math, traces, groups))


def test_index_and_radicand_the_wrong_way_round_are_set_right_by_the_ink():
    math = '<mroot xml:id="r"><mn xml:id="3">3</mn><mrow><mi xml:id="x">x</mi><mi xml:id="y">y</mi></mrow></mroot>'
    traces = {"0": "0 0, 30 20", "1": "2 2, 4 4", "2": "10 5, 15 15", "3": "20 5, 25 15"}
    groups = [(r"\sqrt", "r", "0"), ("3", "3", "1"), ("x", "x", "2"), ("y", "y", "3")]
    names = {(r.subject, r.object): r.name for r in read_inkml(ink_document(math, traces, groups)).graph.relations}
    symbols = read_inkml(ink_document(math, traces, groups)).graph.symbols
    three, x, y = (symbols.index(s) for s in "3xy")
    assert names == {(0, three): "Above", (0, x): "Inside", (x, y): "Right"}


def test_broken_utf8_where_no_symbol_is_touched():
    data = ink_document(r'<mi xml:id="x:1">BAD</mi><mn xml:id="2_1">2</mn>').replace(b"BAD", b"\xb7")
    assert read_inkml(data).graph.symbols == ("x", "2")
    data = ink_document(groups=[("BAD", "x:1", "0 1"), ("2", "2_1", "2")]).replace(b"BAD", b"\xb7")
    with pytest.raises(InkmlError, match="not one of the known symbols"):
        read_inkml(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"<ink", "not well-formed"),
        (b"<svg/>", "'svg', not 'ink'"),
        (ink_document(traces={}), "no traces"),
        (ink_document(groups=[]), "no segmentation"),
        (ink_document(math=""), "no symbols"),
        (
            ink_document().replace(b"annotationXML type", b"other type").replace(b"</annotationXML>", b"</other>"),
            "no MathML",
        ),
        (ink_document(traces={"0": "", "1": "1 1", "2": "2 2"}), "trace '0' has no points"),
        (ink_document(traces={"0": "1 a", "1": "1 1", "2": "2 2"}), "trace '0' holds something that is no number"),
        (ink_document(traces={"0": "1 2, 3", "1": "1 1", "2": "2 2"}), "trace '0' has points of uneven"),
        (ink_document(traces={"0": "1, 2", "1": "1 1", "2": "2 2"}), "trace '0' has points of uneven or too few"),
        (ink_document(traces={"0": "1 nan", "1": "1 1", "2": "2 2"}), "trace '0' has a point that is not finite"),
        (ink_document().replace(b'<trace id="1"', b'<trace id="0"'), "two traces have the id '0'"),
        (ink_document().replace(b'<trace id="1"', b"<trace"), "trace 1 has no id"),
        (ink_document(channels='<channel name="A"/>'), "no X and Y channel"),
        (ink_document(groups=[("x", "x:1", "0 9"), ("2", "2_1", "2")]), "refers to trace '9'"),
        (ink_document(groups=[("x", "x:1", "0 1"), ("2", "2_1", "1")]), "belongs to both 'x' and '2'"),
        (ink_document(groups=[("@", "x:1", "0 1"), ("2", "2_1", "2")]), "symbol '@'"),
        (ink_document(groups=[("", "x:1", "0 1"), ("2", "2_1", "2")]), "has no label"),
        (ink_document(groups=[("x", "x:1", "0 1")]), "symbols '2' of the MathML are not linked"),
        (ink_document(groups=[("x", "x:1", "0"), ("2", "2_1", "2"), ("y", "y", "1")]), "points at 'y'"),
        (ink_document(math=f"<maction>{SQUARE}</maction>"), "maction"),
    ],
)
def test_refused_in_one_line(data, reason):
    with pytest.raises(InkmlError, match=reason) as caught:
        read_inkml(data, "name")
    assert "\n" not in str(caught.value)


def test_hostile_documents():
    laughs = '<!DOCTYPE ink [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;&a;">]>'
    with pytest.raises(InkmlError, match="EntitiesForbidden"):
        read_inkml(laughs.encode() + ink_document())
    external = '<!DOCTYPE ink [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    with pytest.raises(InkmlError, match="EntitiesForbidden"):
        read_inkml(external.encode() + ink_document())
    depth = 20_000
    math = "<mrow>" * depth + SQUARE + "</mrow>" * depth
    assert len(read_inkml(ink_document(math)).graph) == 2


def counts(archive):
    """Relations and symbols of all expressions in an archive, and what was refused and why."""
    found: Counter[str] = Counter()
    refused = {}
    for name, data in iter_files(archive, (".inkml",)):
        try:
            ink = read_inkml(data, name)
        except InkmlError as error:
            refused[name] = str(error)
            continue
        found.update(relation.name for relation in ink.graph.relations)
        found["graphs"] += 1
        found["symbols"] += len(ink.graph)
        assert len(ink.graph.relations) == len(ink.graph) - 1, name
        assert np.isfinite(ink.symbol_boxes()).all(), name
    return found, refused


@pytest.mark.slow
def test_crohme_training_files(shared):
    """The figures of docs/graphs.md. Relations agree with the counts published beside the archive."""
    found, refused = counts(shared / "crohme" / "train.tar.xz")
    assert refused == {"TrainINKML/MfrDB/MfrDB3088.inkml": "the file is empty"}
    assert found == {
        "graphs": 8835,
        "symbols": 85747,
        "Right": 56813,
        "Sup": 5625,
        "Below": 4437,
        "Above": 4222,
        "Sub": 4022,
        "Inside": 1793,
    }


def test_crohme_validation_files(shared):
    found, refused = counts(shared / "crohme" / "validation.tar.xz")
    assert refused == {"TestEM2014GT/34_em_225.inkml": "there is no MathML"}
    assert found["graphs"] == 985
    assert found["symbols"] == 9999
