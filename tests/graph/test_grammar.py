"""Random expressions: always readable, always the same, with CROHME's statistics; and how the counts are made."""

import json
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

from hmeg.graph import Relation, SymbolGraph
from hmeg.graph.baselines import baseline_from, to_latex
from hmeg.graph.grammar import Grammar, Table
from hmeg.graph.grammar_items import IrregularExpression, baseline_of, items_of
from hmeg.graph.latex import parse_latex
from hmeg.graph.tree import same_graph
from hmeg.graph.vocabulary import is_symbol
from tools import grammar_statistics

# All of CROHME's training set, from its description; the bundled counts leave out a few irregular expressions.
CROHME_RELATIONS = {"Right": 56813, "Sup": 5625, "Below": 4437, "Above": 4222, "Sub": 4022, "Inside": 1793}
CROHME_SYMBOLS_PER_EXPRESSION = 9.7


@pytest.fixture(scope="module")
def drawn():
    grammar = Grammar.crohme()
    texts = [grammar.draw(0, index) for index in range(3000)]
    return texts, [parse_latex(text) for text in texts]


def test_every_drawing_is_an_expression_of_the_vocabulary(drawn):
    texts, graphs = drawn
    for text, graph in zip(texts, graphs, strict=True):
        assert 1 <= len(graph) <= 50
        assert all(is_symbol(label) for label in graph.symbols)
        # what was drawn is what a reader of the LaTeX sees
        assert to_latex(baseline_from(graph)) == text


def test_statistics_are_crohmes(drawn):
    _, graphs = drawn
    sizes = np.array([len(graph) for graph in graphs])
    assert sizes.mean() == pytest.approx(CROHME_SYMBOLS_PER_EXPRESSION, abs=0.5)
    assert np.percentile(sizes, [25, 50, 75]) == pytest.approx([4, 8, 13], abs=1)
    relations = Counter(relation.name for graph in graphs for relation in graph.relations)
    total, total_of_crohme = sum(relations.values()), sum(CROHME_RELATIONS.values())
    for name, count in CROHME_RELATIONS.items():
        assert relations[name] / total == pytest.approx(count / total_of_crohme, abs=0.012), name
    frequent = Counter(label for graph in graphs for label in graph.symbols)
    assert {label for label, _ in frequent.most_common(8)} >= {"-", "1", "2", "+", "x"}
    assert len(frequent) > 85


def test_drawings_look_like_mathematics(drawn):
    texts, graphs = drawn
    assert len(set(texts)) > 0.85 * len(texts)
    for graph in graphs:
        items_of(baseline_from(graph))  # raises where a bracket has no partner
    trailing = [text for text in texts if text.split()[-1] in ("+", "-", "=", "\\times", ",") and len(text) > 1]
    assert len(trailing) < 0.02 * len(texts)
    leading = [text for text in texts if text.split()[0] in ("=", "\\times", ",", "!") and len(text) > 1]
    assert len(leading) < 0.02 * len(texts)


def test_the_same_whatever_was_drawn_before():
    grammar = Grammar.crohme()
    fresh = Grammar(grammar.statistics)
    backwards = [fresh.draw(3, index) for index in reversed(range(40))][::-1]
    assert [grammar.draw(3, index) for index in range(40)] == backwards
    assert [text for _, text in zip(range(40), grammar.expressions(3), strict=False)] == backwards
    assert [grammar.draw(4, index) for index in range(40)] != backwards


@pytest.mark.parametrize("limit", [1, 2, 5, 12])
def test_max_symbols(limit):
    grammar = Grammar.crohme()
    sizes = [len(parse_latex(grammar.draw(1, index, limit))) for index in range(100)]
    assert max(sizes) == limit


def test_max_symbols_refused():
    with pytest.raises(ValueError, match="max_symbols must be at least 1, got 0"):
        Grammar.crohme().draw(0, 0, 0)


def test_table_smooths_towards_coarser_conditions():
    table = Table({"a\tx": {"p": 8, "q": 0}, "b\tx": {"p": 0, "q": 8}})
    coarse = table.probabilities(("x",))
    assert coarse == {"p": 0.5, "q": 0.5}
    assert table.probabilities(("unknown", "x")) == coarse
    fine = table.probabilities(("a", "x"))
    assert fine["p"] == pytest.approx((8 + 2 * 0.5) / 10)
    assert sum(fine.values()) == pytest.approx(1)
    assert table.probabilities(("a", "y")) == coarse
    assert Table({}).probabilities(("a", "y")) == {}


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "( a + [ b ] ) ^ { 2 }",
        "| x + | y | | = 3",
        "\\int _ { 0 } ^ { 1 } f ( x ) d x + d",
        "\\sum _ { i = 1 } ^ { n } \\frac { i } { 2 } !",
        "\\sqrt [ { 3 } ] { x _ { 1 } ^ { 2 } }",
        "\\{ x | x \\gt 0 \\}",
        "[ 0 , 1 )",
    ],
)
def test_items_and_back(text):
    baseline = baseline_from(parse_latex(text))
    assert to_latex(baseline_of(items_of(baseline))) == text


def test_groups_are_items():
    (group,) = items_of(baseline_from(parse_latex("( a + b ) ^ { 2 }")))
    assert (group.category, group.label, list(group.around)) == ("group", "( )", ["Sup"])
    assert [item.label for item in group.content] == ["a", "+", "b"]
    integral = items_of(baseline_from(parse_latex("\\int d d x")))
    assert [item.category for item in integral] == ["integral", "differential", "letter", "letter"]


@pytest.mark.parametrize("text", ["( a", "a )", "( )", "| a ) |", "a + ] b ["])
def test_brackets_without_partner(text):
    with pytest.raises(IrregularExpression):
        items_of(baseline_from(parse_latex(text)))


@pytest.mark.parametrize(
    "text",
    [
        "x _ { 1 } ^ { 2 }",
        "\\frac { a } { b } ^ { 2 }",
        "\\sum \\nolimits _ { i } ^ { n } i",
        "\\int \\limits _ { 0 } ^ { 1 } x",
        "\\lim _ { x \\rightarrow 0 } f ^ { \\prime } ( x )",
        "\\sqrt [ { n + 1 } ] { \\frac { 1 } { x } }",
        "\\{ 1 , 2 , \\ldots \\}",
        "a ! = \\pm \\infty",
    ],
)
def test_latex_of_a_graph_reads_as_the_graph(text):
    graph = parse_latex(text)
    written = to_latex(baseline_from(graph))
    assert written == text
    assert same_graph(parse_latex(written), graph)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (SymbolGraph(()), "has one first symbol"),
        (SymbolGraph(("a", "b")), "has one first symbol"),
        (SymbolGraph(("a", "b", "c"), (Relation(0, 1, "Sub"), Relation(0, 2, "Sub"))), "two symbols stand Sub"),
        (SymbolGraph(("a", "b", "c"), (Relation(0, 2, "Sub"), Relation(1, 2, "Sub"))), "hangs on both"),
        (
            SymbolGraph(("a", "b", "c", "d"), (Relation(1, 2, "Sub"), Relation(2, 3, "Sub"), Relation(3, 1, "Sub"))),
            "circle",
        ),
    ],
)
def test_graphs_without_a_baseline(graph, message):
    with pytest.raises(ValueError, match=message):
        baseline_from(graph)


@pytest.mark.parametrize(
    ("subject", "relation"), [("x", "Inside"), ("-", "Inside"), (r"\\sum", "Inside"), (r"\\overbrace", "Inside")]
)
def test_arrangements_latex_cannot_write(subject, relation):
    graph = SymbolGraph((subject.replace("\\\\", "\\"), "a"), (Relation(0, 1, relation),))
    with pytest.raises(ValueError, match=f"nothing to put {relation} of symbol {subject}|nothing at it"):
        to_latex(baseline_from(graph))


INK = """<ink xmlns="http://www.w3.org/2003/InkML">
<annotation type="truth">$a+b$</annotation>
<annotationXML type="truth" encoding="Content-MathML"><math xmlns="http://www.w3.org/1998/Math/MathML">
<mrow><mi xml:id="a_1">a</mi><mrow><mo xml:id="+_1">+</mo><mi xml:id="b_1">b</mi></mrow></mrow></math></annotationXML>
<trace id="0">0 0, 1 1</trace><trace id="1">2 0, 3 1</trace><trace id="2">4 0, 5 1</trace>
<traceGroup xml:id="3"><annotation type="truth">Segmentation</annotation>
<traceGroup xml:id="4"><annotation type="truth">a</annotation><traceView traceDataRef="0"/>
<annotationXML href="a_1"/></traceGroup>
<traceGroup xml:id="5"><annotation type="truth">+</annotation><traceView traceDataRef="1"/>
<annotationXML href="+_1"/></traceGroup>
<traceGroup xml:id="6"><annotation type="truth">b</annotation><traceView traceDataRef="2"/>
<annotationXML href="b_1"/></traceGroup></traceGroup></ink>"""


def test_statistics_from_ink(tmp_path):
    source = tmp_path / "ink"
    source.mkdir()
    (source / "one.inkml").write_text(INK)
    (source / "two.inkml").write_text(INK.replace(">b<", ">x<"))
    (source / "bad.inkml").write_text("<ink>")
    out = tmp_path / "counts.json"
    result = CliRunner().invoke(grammar_statistics.main, [str(source), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "2 expressions counted, 0 irregular, 1 unreadable" in result.output
    counts = json.loads(out.read_text())
    assert counts["symbols"] == 6
    assert counts["relations"] == {"Right": 4}
    assert counts["tables"]["repeat"] == {"main\tsign\t1": {"new": 2}}
    texts = {Grammar(counts).draw(0, index) for index in range(50)}
    assert texts >= {"a + b", "a + x"}


def test_statistics_of_nothing(tmp_path):
    result = CliRunner().invoke(grammar_statistics.main, [str(tmp_path), "--out", str(tmp_path / "counts.json")])
    assert result.exit_code == 1
    assert "no expression in" in result.output
    assert not (tmp_path / "counts.json").exists()


def test_bundled_statistics_are_crohmes_training_set():
    statistics = Grammar.crohme().statistics
    assert statistics["expressions"] + statistics["irregular"] >= 8825
    for name, count in CROHME_RELATIONS.items():
        assert statistics["relations"][name] == pytest.approx(count, rel=0.03)
    assert statistics["symbols"] / statistics["expressions"] == pytest.approx(CROHME_SYMBOLS_PER_EXPRESSION, abs=0.05)
