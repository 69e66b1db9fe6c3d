"""Marks, frames, brackets, arrays and what stands over and under: each is a graph of six relations, and LaTeX again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmeg.graph.baselines import baseline_from, to_latex
from hmeg.graph.latex import LatexError, parse_latex
from hmeg.graph.latex_source import MAX_SYMBOLS
from hmeg.graph.vocabulary import Vocabulary
from tests.support.graph_text import edges

STRUCTURES = [
    (r"\hat{x}^2", r"\hat Below x, \hat Sup 2"),
    (r"\widehat{ab}c", r"\hat Below a, a Right b, \hat Right c"),
    (r"\bar x", r"\overline Below x"),
    (r"\overline{a}_1", r"\overline Below a, \overline Sub 1"),
    (r"\vec{\dot{v}}", r"\overrightarrow Below \dot, \dot Below v"),
    (r"\underline{a}", r"\underline Above a"),
    (r"\overbrace{a b}^{n}", r"\overbrace Below a, a Right b, \overbrace Above n"),
    (r"\underbrace{a}_{n} b", r"\underbrace Below n, \underbrace Above a, \underbrace Right b"),
    (r"\overset{\frown}{AB}", r"\wideparen Below A, A Right B"),
    (r"\overset{a}{=}", "= Above a"),
    (r"\stackrel{\Delta}{=}", r"= Above \Delta"),
    (r"\overset{a}{\underset{b}{x}}_i", "x Below b, x Above a, x Sub i"),
    (r"\xrightarrow[b]{a}", r"\rightarrow Below b, \rightarrow Above a"),
    (r"\xlongequal{a}", "= Above a"),
    (r"\underset{i}{\sum}", r"\sum Below i"),
    (r"\textcircled{1}", r"\bigcirc Inside 1"),
    (r"\boxed{a b}", r"\square Inside a, a Right b"),
    (r"a\boxed{}", r"a Right \square"),
    (r"\left\{ a \right.", r"\{ Right a"),
    (r"\left\lfloor a \right\rfloor^2", r"\lfloor Right a, a Right \rfloor, \rfloor Sup 2"),
    (
        r"\binom{n}{k}",
        "( Right &1, &1 Inside n, &1 Below &2, &2 Inside k, &1 Right )",
    ),
    (r"{n \choose k}", "( Right &1, &1 Inside n, &1 Below &2, &2 Inside k, &1 Right )"),
    (r"{a \atop b}", "&1 Inside a, &1 Below &2, &2 Inside b"),
    (
        r"\begin{matrix} a & b \\ c \\ & d \end{matrix} e",
        "&1 Inside a, &1 Below &2, &2 Inside c, &2 Below &3, &3 Right &4, &4 Inside d, "
        "&1 Right &5, &5 Inside b, &5 Right e",
    ),
    (r"\begin{cases} a & b \end{cases}", r"\{ Right a, a Right b"),
    (r"\begin{cases} a \\ b \end{cases}", r"\{ Right &1, &1 Inside a, &1 Below &2, &2 Inside b"),
    (r"\sum_{\substack{i \\ j}}", r"\sum Below &1, &1 Inside i, &1 Below &2, &2 Inside j"),
    (r"\begin{aligned} a &= b \\ &= c \end{aligned}", None),
    (r"\left( \begin{array} { c c } { a } & { b } \\ { c } & { d } \\ \end{array} \right)^2", None),
    (r"\begin{matrix} a \\ b \end{matrix} \begin{matrix} c \\[2pt] d \end{matrix}", None),
    (r"\begin{vmatrix} \frac{a}{b} & \sum_i^n \\ \begin{pmatrix} 1 \\ 2 \end{pmatrix} & \hat{x} \end{vmatrix}", None),
    (r"\mathcal{L}_{1} \mathbb{R}^{n} \not\equiv", None),
]


@pytest.mark.parametrize(("text", "expected"), STRUCTURES)
def test_structures(text, expected):
    graph = parse_latex(text)
    written = to_latex(baseline_from(graph))
    assert parse_latex(written) == graph, written
    assert to_latex(baseline_from(parse_latex(written))) == written
    if expected is not None:
        assert edges(text) == expected


def test_marks_that_look_the_same_are_one_symbol():
    for same in ((r"\bar{x}", r"\overline{x}"), (r"\vec{x}", r"\overrightarrow{x}"), (r"\hat{x}", r"\widehat{x}")):
        assert parse_latex(same[0]) == parse_latex(same[1])


def test_rows_of_arrays_end_where_their_source_says():
    trailing = parse_latex(r"\begin{matrix} a \\ b \\ \end{matrix}")
    assert trailing == parse_latex(r"\begin{array}[t]{@{}l@{}} a \\ b \end{array}") == parse_latex(r"\substack{a \\ b}")
    # What is no length after the end of a row belongs to the next one.
    assert parse_latex(r"\begin{matrix} a \\ [b] \end{matrix}").symbols == ("&", "a", "&", "[", "b", "]")


@pytest.mark.parametrize("name", [s.name for s in Vocabulary.open() if s.kind not in ("accent", "cell")])
def test_every_symbol_is_read_and_written(name):
    if name == r"\sqrt":
        assert parse_latex(r"\surd 2") == parse_latex(r"\sqrt{2}")
        return
    graph = parse_latex(f"a {name} b^{{{name}}}")
    assert graph.symbols == ("a", name, "b", name)
    assert parse_latex(to_latex(baseline_from(graph))) == graph


@pytest.mark.parametrize("name", [s.name for s in Vocabulary.open() if s.kind == "accent"])
def test_every_mark_is_read_and_written(name):
    graph = parse_latex(f"a {name} {{b c}} d")
    assert graph.symbols == ("a", name, "b", "c", "d")
    assert parse_latex(to_latex(baseline_from(graph))) == graph


@pytest.mark.parametrize("symbol", list(Vocabulary.open()), ids=lambda symbol: symbol.name)
def test_every_spelling_of_a_symbol_is_read(symbol):
    for spelling in (*symbol.spellings, *(c for c in symbol.characters if c not in "{}$~#'’′")):
        content = "{x}" if symbol.kind == "accent" or symbol.name == r"\sqrt" else ""
        graph = parse_latex(f"{spelling} {content}")
        assert graph.symbols[0] == symbol.name, spelling


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    marks = [r"\hat", r"\overline", r"\underline", r"\vec", r"\overbrace", r"\textcircled", r"\boxed", r"\sqrt"]
    row = st.lists(inner, min_size=1, max_size=3).map(" ".join)
    return st.one_of(
        st.builds("{}{{{}}}".format, st.sampled_from(marks), row),
        st.builds(r"\overset{{{}}}{{{}}}".format, row, st.sampled_from(["=", "x", r"\rightarrow", r"\max"])),
        st.builds(r"\underset{{{}}}{{{}}}".format, row, st.sampled_from(["=", "+", r"\sum", r"\operatorname{lim}"])),
        st.builds(
            "{}_{{{}}}^{{{}}}".format, st.sampled_from(["x", r"\sum", r"\int", r"\max", r"\prod", ")"]), row, row
        ),
        st.builds("{{{}}}^{{{}}}".format, row, row),
        st.builds(r"\frac{{{}}}{{{}}}".format, row, row),
        st.builds(r"\begin{{pmatrix}}{} & {} \\ {} \end{{pmatrix}}".format, row, row, row),
        st.builds(r"\begin{{matrix}}{} \\ {} \\ {} \end{{matrix}}".format, row, row, row),
        st.builds(r"\binom{{{}}}{{{}}}".format, row, row),
        row,
    )


ATOMS = st.sampled_from(
    [s.name for s in Vocabulary.open() if s.kind not in ("accent", "cell", "large", "integral") and s.name != r"\sqrt"]
    + ["x'", r"\ln", r"\sum_i", r"\bar a", "²", r"\not=", r"\mathcal{L}", r"\{"]
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.recursive(ATOMS, _nested, max_leaves=12), min_size=1, max_size=4).map(" ".join))
def test_whatever_is_read_is_written_and_read_again(text):
    try:
        graph = parse_latex(text)
    except LatexError:
        return
    assert len(graph) <= MAX_SYMBOLS
    written = to_latex(baseline_from(graph))
    assert parse_latex(written) == graph, (text, written)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "least"), [("school.txt", 0.97), ("papers.txt", 0.75)])
def test_real_formulas_are_read_and_written(shared, file, least):
    lines = (shared / "formulas" / file).read_text(encoding="utf-8").splitlines()
    read = 0
    for line in lines:
        try:
            graph = parse_latex(line)
        except LatexError:
            continue
        read += 1
        written = to_latex(baseline_from(graph))
        again = parse_latex(written)
        assert again == graph, line
        assert to_latex(baseline_from(again)) == written
    assert read / len(lines) >= least
