"""LaTeX -> symbol graph: conventions, synonyms, decorations, errors with piece and position, CROHME's annotations."""

from __future__ import annotations

import inspect
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmeg.data.inkml import InkmlError, read_inkml
from hmeg.data.sources import iter_files
from hmeg.graph.baselines import baseline_from, to_latex
from hmeg.graph.latex import LatexError, latex_to_mathml, parse_latex
from hmeg.graph.latex_source import MAX_NESTING, MAX_SYMBOLS
from hmeg.graph.symbol_graph import Relation, SymbolGraph
from hmeg.graph.tree import same_graph
from hmeg.graph.vocabulary import SYMBOL_LABELS
from tests.support.graph_text import edges


@pytest.mark.parametrize("label", [label for label in SYMBOL_LABELS if label != r"\sqrt"])
def test_every_symbol_of_the_vocabulary(label):
    assert parse_latex(f"a {label} b").symbols == ("a", label, "b")
    assert parse_latex(f"a_{label}").symbols == ("a", label)
    assert parse_latex(f"a^{{{label} 2}}").symbols == ("a", label, "2")
    assert parse_latex(rf"\frac{{{label}}}{{2}}").symbols == ("-", label, "2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x^2+1", "x Sup 2, x Right +, + Right 1"),
        ("x_i^2", "x Sub i, x Sup 2"),
        ("x^2_i", "x Sub i, x Sup 2"),
        ("{v_1}^2", "v Sub 1, v Sup 2"),
        ("{ab}^2", "a Right b, b Sup 2"),
        (r"\left(a\right)^2b", "( Right a, a Right ), ) Sup 2, ) Right b"),
        (r"\left. a \right|_0", "a Right |, | Sub 0"),
        (r"a\frac{b}{c}d", "a Right -, - Above b, - Below c, - Right d"),
        (r"\frac12", "- Above 1, - Below 2"),
        (r"\frac1{23}", "- Above 1, - Below 2, 2 Right 3"),
        (r"{a \over bc}", "- Above a, - Below b, b Right c"),
        (r"\dfrac{a}{b}", "- Above a, - Below b"),
        (r"\sqrt{ab}+", r"\sqrt Inside a, a Right b, \sqrt Right +"),
        (r"\sqrt ab", r"\sqrt Inside a, \sqrt Right b"),
        (r"\sqrt[n]{x}", r"\sqrt Above n, \sqrt Inside x"),
        (r"\sqrt[{[n]}]{x}", r"\sqrt Above [, [ Right n, n Right ], \sqrt Inside x"),
        (r"x^\frac12", "x Sup -, - Above 1, - Below 2"),
        (r"x^\sqrt2", r"x Sup \sqrt, \sqrt Inside 2"),
        (r"√2", r"\sqrt Inside 2"),
        (r"12.5", "1 Right 2, 2 Right ., . Right 5"),
        (r"\mathrm{sin}", "s Right i, i Right n"),
        (r"\mbox{ a b }", "a Right b"),
        (r"\operatorname{sin} x", r"\sin Right x"),
        (r"\operatorname{ab}", "a Right b"),
        (r"I_\mathrm{S}", "I Sub S"),
        ("f'", r"f Sup \prime"),
        ("f''", r"f Sup \prime1, \prime1 Right \prime2"),
        ("f″", r"f Sup \prime1, \prime1 Right \prime2"),
        ("f'_1^2", r"f Sub 1, f Sup \prime, \prime Right 2"),
        ("m^{'}", r"m Sup \prime"),
        (r"f^\prime", r"f Sup \prime"),
        (r"\int_0^1", r"\int Sub 0, \int Sup 1"),
        (r"\int\limits_0^1", r"\int Below 0, \int Above 1"),
        (r"\|x", "|1 Right |2, |2 Right x"),
        ("2ex^3", "2 Right e, e Right x, x Sup 3"),
        ("3 in", "3 Right i, i Right n"),
        ("x{}^2", "x Sup 2"),
        (r"a\middle|b", "a Right |, | Right b"),
    ],
)
def test_structure(text, expected):
    assert edges(text) == expected


def test_limits_go_below_and_above_in_display_style_and_to_the_right_in_line():
    below, right = r"\sum Below i, \sum Above n", r"\sum Sub i, \sum Sup n"
    assert edges(r"\sum_i^n") == edges(r"$$\sum_i^n$$") == edges(r"\[\sum_i^n\]") == below
    assert edges(r"$\sum_i^n$") == edges(r"\(\sum_i^n\)") == right
    assert edges(r"$\sum_i^n$", display=True) == below
    assert edges(r"\sum_i^n", display=False) == right
    assert edges(r"$\sum\limits_i^n$") == edges(r"$\displaystyle\sum_i^n$") == below
    assert edges(r"\sum\nolimits_i^n") == edges(r"{\textstyle\sum_i^n}") == right
    assert edges(r"\lim_n") == r"\lim Below n"
    assert edges(r"$\lim_n$") == r"\lim Sub n"
    # A style ends with its group.
    assert edges(r"{\textstyle a}\sum_i^n").endswith(below)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (r"a\,b\;c\:d\!e\ f~g\quad h\qquad i\hspace{2cm}j", "abcdefghij"),
        (r"$ x $", "x"),
        (r"$$x$$", "x"),
        (r"a$b$c$", "abc"),
        (r"\displaystyle x", "x"),
        (r"\bigl( x \Bigr) \bigg| y", "( x ) | y"),
        (r"{\rm d}x\mathbf{y}", "dxy"),
        (r"a\le b\ge c\ne d\to e", r"a\leq b\geq c\neq d\rightarrow e"),
        (r"a<b>c", r"a\lt b\gt c"),
        (r"a\cdots b\dots c", r"a\ldots b\ldots c"),
        (r"a\cdot b", "a.b"),
        (r"\lbrace\rbrace\lbrack\rbrack\vert\mid", r"\{\}[]||"),
        ("α×β÷γ−∞≤≥≠→∫∑±∈∀∃", r"\alpha\times\beta\div\gamma-\infty\leq\geq\neq\rightarrow\int\sum\pm\in\forall\exists"),
        (r"\varphi", r"\phi"),
        ("\\frac\n{a}\n{b}", r"\frac{a}{b}"),
        (r"x_{}^{}", "x"),
        (r"\hspace * { 5 m m } x", "x"),
        ("$x", "x"),
        ("x$", "x"),
        ("$x$.", "x"),
        (r"\begin{equation} x \end{equation}", "x"),
        (r"\begin{equation*}\sum_i\end{equation*}", r"\sum_i"),
        (r"\not=", r"\neq"),
        (r"\not{=}", r"\neq"),
        (r"\not\! =", r"\neq"),
        (r"a\not\in b", r"a\notin b"),
        ("x²", "x^2"),
        ("x²³y", "x^{23}y"),
        ("x₁₂²", "x_{12}^2"),
        ("30°", r"30^{\circ}"),
        (r"30\degree", r"30^{\circ}"),
        (r"30^{\degree}", r"30^{\circ}"),
        ("50%", r"50\%"),
        ("x*y", r"x\ast y"),
        ("（a，b）", "(a,b)"),
        ("𝑥+𝐀", "x+A"),
        ("ℝ", r"\mathbb{R}"),
        (r"\mathds R", r"\mathbb{R}"),
        ("①", r"\textcircled{1}"),
        (r"\iint", r"\int\int"),
        (r"\left<a\right>", r"\langle a\rangle"),
        (r"\left\|a\right\|", "||a||"),
        (r"\bigl. a \bigr|", "a |"),
        (r"{y^{\prime}}^2", r"y^{\prime 2}"),
        (r"{x_1}_2", "x_{12}"),
        (r"x_{_{N}}", "x_N"),
        (r"\max x", "max x"),
        (r"\ln x", "ln x"),
        (r"\operatorname { s i n h } x", "sinh x"),
        (r"\liminf", r"\lim inf"),
        (r"\operatorname{Tr}", "Tr"),
        (r"\text{if } x", "ifx"),
        (r"a \bmod b", "a mod b"),
        (r"a \pmod{b}", "a(mod b)"),
        (r"{\cal L}", "L"),
        (r"\sqrt[]{x}", r"\sqrt{x}"),
    ],
)
def test_synonyms_and_decorations(text, same):
    assert parse_latex(text) == parse_latex(same)


@pytest.mark.parametrize(
    ("text", "piece", "position", "reason"),
    [
        ("", "", 0, "empty"),
        ("  ", "  ", 0, "empty"),
        ("$$", "$$", 0, "empty"),
        ("{}", "{}", 0, "no symbols"),
        (r"\displaystyle", r"\displaystyle", 0, "no symbols"),
        ("aé", "é", 1, "is not one of the 367 known symbols"),
        ("a 中", "中", 2, "is not one of the 367 known symbols"),
        (r"\mathbb{x}", "x", 8, r"'x' in \\mathbb is not one"),
        (r"\not p", r"\not", 0, r"before 'p'"),
        (r"x + \foo{y}", r"\foo", 4, "unknown macro"),
        (r"M\ltN", r"\ltN", 1, "unknown macro"),
        ("a{b", "{", 1, "not closed"),
        ("a}b", "}", 1, "closes nothing"),
        ("{a", "{", 0, "not closed"),
        (r"\left(a", r"\left", 0, "not closed"),
        (r"a\right)", r"\right", 1, "closes nothing"),
        (r"{\left(a}\right)", r"\left", 1, "not closed before"),
        (r"\left{a\right}", "{", 5, "delimiter"),
        (r"\left+a\right>", "+", 5, "delimiter"),
        (r"a\left", r"\left", 1, "lacks a delimiter"),
        (r"\sqrt[3", "[", 5, "not closed"),
        (r"a\frac{b}", r"\frac", 1, "lacks an argument"),
        (r"\frac{}{b}", r"\frac", 0, "numerator"),
        (r"\frac{b}{ \, }", r"\frac", 0, "denominator"),
        (r"a\sqrt", r"\sqrt", 1, "lacks an argument"),
        (r"\sqrt{}", r"\sqrt", 0, "radicand"),
        (r"\mathrm", r"\mathrm", 0, "lacks an argument"),
        ("x^", "^", 1, "superscript is missing"),
        (r"\frac{a_}{b}", "_", 7, "subscript is missing"),
        (r"\frac^2", "^", 5, "in place of an argument"),
        ("^2", "^", 0, "no symbol to stand at"),
        (r"\sqrt{_2}", "_", 6, "no symbol to stand at"),
        ("x^2^3", "^", 3, "second superscript"),
        ("x_2_3", "_", 3, "second subscript"),
        ("x^2'", "'", 3, "second superscript"),
        (r"x\limits_1", r"\limits", 1, "does not follow"),
        (r"1\over2\over3", r"\over", 7, "second"),
        (r"\over 2", r"\over", 0, "numerator"),
        (r"a\begin{picture}b\end{picture}", r"\begin{picture}", 1, "'picture' is not supported"),
        (r"\includegraphics{a}", r"\includegraphics", 0, "not supported"),
        (r"\overline{}", r"\overline", 0, "nothing stands at"),
        (r"\overline", r"\overline", 0, "lacks an argument"),
        (r"\overset{a}{bc}", r"\overset", 0, "it can stand at one only"),
        (r"\overset{a}{}", r"\overset", 0, "no symbol to stand at"),
        (r"\overset{a}{\frac{b}{c}}", r"\overset", 0, "has something Above of it already"),
        (r"\overset{a}{\sqrt{b}}", r"\overset", 0, "has something Above of it already"),
        (r"\overbrace{ab}_2", "_", 14, "on its other side only"),
        (r"{\sum_a}_b", "_", 8, "only one kind can be told"),
        (r"{\sum_a}^b", "^", 8, "only one kind can be told"),
        (r"{\int\limits_a}_b", "_", 15, "only one kind can be told"),
        ("{}^{2}x", "^", 2, "no symbol to stand at: a symbol graph hangs it on one before it"),
        ("a & b", "&", 2, "outside an array"),
        (r"a \\ b", r"\\", 2, "outside an array"),
        (r"\begin{matrix}a & {b \\ c}\end{matrix}", "{", 18, "not closed before"),
        (r"\begin{matrix}a", r"\begin{matrix}", 0, "is not closed"),
        (r"a\end{matrix}", r"\end{matrix}", 1, "closes nothing"),
        (r"\begin{matrix}a\end{cases}", r"\begin{matrix}", 0, "is not closed before"),
        (r"\begin{array}{c|c}a&b\end{array}", r"\begin{array}", 0, "rules"),
        (r"\begin{array}{c}a \\ \hline b\end{array}", r"\hline", 21, "rules"),
        (r"\begin{matrix}&\\&\end{matrix}", r"\begin{matrix}", 0, "has no symbols"),
        (r"\begin{matrix}a\\b\end{matrix}^2", "^", 30, "array without a bracket"),
        ("$x$ and $y$", "$", 8, "2 formulas on one line"),
        ("so $x$", "s", 0, "text around a formula"),
        ("$x$ is", "i", 4, "text around a formula"),
        (r"\(x\)y", "y", 5, "text around a formula"),
        ("1. x^2", "1.", 0, "item in a list"),
        ("  12. x^2", "12.", 2, "item in a list"),
        ("x\\", "\\", 1, "backslash"),
        (r"\hspace x", r"\hspace", 0, "in braces"),
    ],
)
def test_errors_name_piece_and_position(text, piece, position, reason):
    with pytest.raises(LatexError, match=reason) as caught:
        parse_latex(text)
    assert (caught.value.piece, caught.value.position) == (piece, position)
    assert f"position {position}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_long_input():
    graph = parse_latex("+".join(["x"] * 127) + "^2")
    assert len(graph) == 254
    assert {r.name for r in graph.relations} == {"Right", "Sup"}
    assert len(parse_latex("+".join([r"\frac{a_{1}}{\sqrt{b^2}}"] * 36))) == 251


def test_too_long_input_is_refused_where_it_becomes_too_long():
    assert len(parse_latex("x" * MAX_SYMBOLS)) == MAX_SYMBOLS
    with pytest.raises(LatexError, match="more than 256 symbols, from 'y' on") as caught:
        parse_latex("x " * MAX_SYMBOLS + "y + z")
    assert (caught.value.piece, caught.value.position) == ("y", 2 * MAX_SYMBOLS)
    with pytest.raises(LatexError, match="more than 256 symbols") as caught:
        parse_latex("+".join(["x"] * 250))
    assert caught.value.position == MAX_SYMBOLS
    with pytest.raises(LatexError, match="256 symbols") as caught:
        parse_latex(r"\frac{a}{b}" * 86)
    assert caught.value.piece in ("a", "b", r"\frac")


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("x^{", "}"), ("{", "}"), (r"\frac{1}{", "}"), (r"\sqrt{", "}"), (r"\left(", r"\right)"), (r"\sqrt ", "")],
)
def test_nesting_is_bounded_by_an_error_not_by_the_stack(opening, closing):
    depth = MAX_NESTING - 1
    assert parse_latex(opening * depth + "y" + closing * depth).symbols
    for depth in (MAX_NESTING + 1, 50_000):
        with pytest.raises(LatexError, match=f"nested deeper than {MAX_NESTING}"):
            parse_latex(opening * depth + "y" + closing * depth)


def test_reading_does_without_the_stack_and_writing_says_when_it_is_full():
    def call(depth: int) -> SymbolGraph:
        return call(depth - 1) if depth else parse_latex("x^{" * 99 + "y" + "}" * 99)

    # Reading needs a few frames, whatever the nesting.
    graph = call(sys.getrecursionlimit() - len(inspect.stack(0)) - 60)
    assert len(graph) == 100
    with pytest.raises(ValueError, match="nested too deep"):
        to_latex(baseline_from(SymbolGraph(("x",) * 1000, tuple(Relation(i, i + 1, "Sup") for i in range(999)))))


def test_operators_by_any_name_take_limits_as_their_symbol_does():
    below = r"\lim Below x, \lim Right f"
    assert edges(r"\mathop{\lim}_{x} f") == edges(r"\operatorname*{lim}_x f") == edges(r"\lim_x f") == below
    assert edges(r"$\mathop{\lim}_{x} f$") == r"\lim Sub x, \lim Right f"
    assert edges(r"\mathop{\sum}\limits_{i}") == edges(r"\sum\limits_i") == r"\sum Below i"
    assert edges(r"\mathop{\sum}\nolimits_{i}") == r"\sum Sub i"
    assert edges(r"\mathop{\int}_a") == r"\int Sub a"
    # A name in letters has its limits at the letter in the middle.
    assert (
        edges(r"\max_k")
        == edges(r"\mathop{max}_k")
        == edges(r"\underset{k}{\max}")
        == "m Right a, a Below k, a Right x"
    )
    assert edges(r"$\max_k$") == edges(r"\max\nolimits_k") == "m Right a, a Right x, x Sub k"
    assert edges(r"\liminf_k") == r"\lim Below k, \lim Right i, i Right n, n Right f"
    assert edges(r"\ln_k") == "l Right n, n Sub k"
    # Braces make an operator a symbol like any other, as in TeX.
    assert edges(r"{\sum}_i") == r"\sum Sub i"


def test_source_is_kept():
    assert parse_latex(r"$ x^{2} $").latex == r"$ x^{2} $"


def test_mathml_is_presentation_mathml():
    assert "<msup><mi>x</mi><mrow><mn>2</mn></mrow></msup>" in latex_to_mathml("x^2")


# Random expressions: a row is a list of items; an item is a symbol with scripts, a fraction or a root.

ROW_SYMBOLS = [s for s in SYMBOL_LABELS if s not in (r"\sqrt", r"\sum", r"\lim", r"\int", r"\prime")]


@st.composite
def expressions(draw: st.DrawFn) -> tuple[str, SymbolGraph]:
    """LaTeX in free spelling, with the graph it must give."""
    symbols: list[str] = []
    relations: list[Relation] = []

    def space() -> str:
        return draw(st.sampled_from([" ", "  ", r"\, ", r"\quad ", ""]))

    def argument(text: str) -> str:
        return "{" + space() + text + "}"

    def row(depth: int, parent: int | None, relation: str) -> str:
        texts: list[str] = []
        for _ in range(draw(st.integers(1, 4))):
            kind = draw(st.sampled_from(["symbol"] * 4 + (["fraction", "root", "operator"] if depth < 3 else [])))
            label = {"fraction": "-", "root": r"\sqrt"}.get(kind) or draw(
                st.sampled_from(ROW_SYMBOLS if kind == "symbol" else [r"\sum", r"\lim", r"\int"])
            )
            at = len(symbols)
            symbols.append(label)
            if parent is not None:
                relations.append(Relation(parent, at, relation))
            parent, relation = at, "Right"
            if kind == "fraction":
                above = row(depth + 1, at, "Above")
                text = r"\frac" + argument(above) + argument(row(depth + 1, at, "Below"))
            elif kind == "root":
                index = "[" + "{" + row(3, at, "Above") + "}]" if draw(st.booleans()) else ""
                text = r"\sqrt" + index + argument(row(depth + 1, at, "Inside"))
            else:
                text = label + " "
            scripts = "" if depth >= 3 else draw(st.sampled_from(["", "", "_", "^", "_^"]))
            limits = label in (r"\sum", r"\lim")
            if draw(st.booleans()) and kind == "symbol":
                text = "{" + text + "}"
            for mark in scripts:
                name = {"_": "Below" if limits else "Sub", "^": "Above" if limits else "Sup"}[mark]
                text += space() + mark + argument(row(depth + 1, at, name))
            texts.append(text)
        return space().join(texts)

    text = row(0, None, "")
    return text, SymbolGraph(tuple(symbols), tuple(relations))


@pytest.mark.slow
@settings(max_examples=80, deadline=None, derandomize=True)
@given(expressions())
def test_random_expressions(expression):
    text, graph = expression
    if len(graph) > MAX_SYMBOLS:
        assert isinstance(outcome_of(text), LatexError)
        return
    assert same_graph(parse_latex(text), graph), text
    written = to_latex(baseline_from(parse_latex(text)))
    assert parse_latex(written) == parse_latex(text)
    assert to_latex(baseline_from(parse_latex(written))) == written


PIECES = r"""
x 2 { } ^ _ ' \frac \sqrt [ ] \left( \right) \left \right \sum \int \lim \limits \over \mathrm & \\ \foo W $ \, | - .
\{ \} \displaystyle \operatorname{sin} \begin{a} \hspace \hat \overbrace \overset \underset \textcircled \binom \atop
\not \begin{matrix} \end{matrix} \begin{cases} \end{cases} \substack \mathop \mathbb \xrightarrow \max \nolimits ² °
\pmod{n} =
"""


def outcome_of(text: str) -> SymbolGraph | LatexError:
    try:
        return parse_latex(text)
    except LatexError as error:
        return error


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(PIECES.split()), max_size=14))
def test_any_sequence_of_pieces_gives_a_graph_or_a_latex_error(pieces):
    text = " ".join(pieces)
    outcome = outcome_of(text)
    if isinstance(outcome, LatexError):
        assert text[outcome.position :].startswith(outcome.piece)
    else:
        assert len(outcome) == len(outcome.relations) + 1
        assert parse_latex(to_latex(baseline_from(outcome))) == outcome


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_any_text_gives_a_graph_or_a_latex_error(text):
    assert "\n" not in str(outcome_of(text))


def test_validation_annotations_give_the_graph_of_their_mathml(shared):
    """The figure of docs/graphs.md: at least 97 % of CROHME 2014's 986 test expressions."""
    outcome: Counter[str] = Counter()
    for name, data in iter_files(shared / "crohme" / "validation.tar.xz", (".inkml",)):
        try:
            ink = read_inkml(data, name)
        except InkmlError:
            outcome["no MathML"] += 1
            continue
        try:
            outcome["same" if same_graph(parse_latex(ink.latex or ""), ink.graph) else "different"] += 1
        except LatexError:
            outcome["refused"] += 1
    assert outcome == {"same": 959, "different": 23, "refused": 3, "no MathML": 1}
    assert outcome["same"] / 986 >= 0.97
