"""MathML -> symbol graph: every construct, every refusal, hostile documents."""

from __future__ import annotations

import pytest

from hmeg.graph.latex import latex_to_mathml, parse_latex
from hmeg.graph.mathml import MathmlError, read_mathml
from hmeg.graph.symbol_graph import Relation
from hmeg.graph.tree import same_graph


def edges(body: str) -> list[str]:
    """Relations of a formula as ``subject relation object``; symbols that occur more than once are numbered."""
    graph = read_mathml(f"<math>{body}</math>")
    names = [
        label if graph.symbols.count(label) == 1 else f"{label}{graph.symbols[: i + 1].count(label)}"
        for i, label in enumerate(graph.symbols)
    ]
    return [f"{names[r.subject]} {r.name} {names[r.object]}" for r in graph.relations]


def test_a_row_runs_from_symbol_to_symbol_whatever_the_nesting():
    flat = "<mi>x</mi><mo>+</mo><mn>1</mn>"
    nested = "<mrow><mi>x</mi><mrow><mo>+</mo><mstyle><mrow><mn>1</mn></mrow></mstyle></mrow></mrow>"
    assert edges(flat) == edges(nested) == ["x Right +", "+ Right 1"]


def test_script_hangs_on_its_base_and_the_row_goes_on_from_the_base():
    assert edges("<msup><mi>x</mi><mn>2</mn></msup><mo>+</mo>") == ["x Sup 2", "x Right +"]
    assert edges("<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup><mo>+</mo>") == ["x Sub i", "x Sup 2", "x Right +"]


def test_script_of_a_group_hangs_on_the_last_symbol_of_the_group():
    body = "<msup><mrow><mo>(</mo><mi>a</mi><mo>)</mo></mrow><mn>2</mn></msup><mi>b</mi>"
    assert edges(body) == ["( Right a", "a Right )", ") Sup 2", ") Right b"]
    assert edges("<msup><msub><mi>v</mi><mn>1</mn></msub><mn>2</mn></msup>") == ["v Sub 1", "v Sup 2"]
    assert edges("<msup><mfrac><mi>a</mi><mi>b</mi></mfrac><mn>2</mn></msup>") == [
        "- Above a",
        "- Below b",
        "- Sup 2",
    ]


def test_fraction_is_its_bar():
    body = "<mi>x</mi><mfrac><mrow><mi>a</mi><mi>b</mi></mrow><mi>c</mi></mfrac><mo>=</mo>"
    assert edges(body) == ["x Right -", "- Above a", "a Right b", "- Below c", "- Right ="]


def test_roots():
    assert edges("<msqrt><mi>a</mi><mi>b</mi></msqrt><mo>+</mo>") == [
        r"\sqrt Inside a",
        "a Right b",
        r"\sqrt Right +",
    ]
    assert edges("<mroot><mi>x</mi><mn>3</mn></mroot>") == [r"\sqrt Above 3", r"\sqrt Inside x"]


def test_limits_follow_the_element():
    total = "<mo>&#8721;</mo><mi>i</mi><mi>n</mi>"
    assert edges(f"<munderover>{total}</munderover>") == [r"\sum Below i", r"\sum Above n"]
    assert edges(f"<msubsup>{total}</msubsup>") == [r"\sum Sub i", r"\sum Sup n"]
    assert edges("<munder><mi>lim</mi><mi>n</mi></munder>") == [r"\lim Below n"]
    assert edges("<mover><mo>&#8747;</mo><mi>n</mi></mover>") == [r"\int Above n"]


def test_texts_become_symbols():
    graph = read_mathml("<math><mn>3.14</mn><mi>sin</mi><mi>&#952;</mi><mo>&#8722;</mo><mtext>is a</mtext></math>")
    assert graph.symbols == ("3", ".", "1", "4", r"\sin", r"\theta", "-", "i", "s", "a")
    # A word of running text is letters, though "in" is the name of a sign.
    assert read_mathml("<math><mtext>in</mtext></math>").symbols == ("i", "n")
    assert read_mathml("<math><mo>in</mo></math>").symbols == (r"\in",)
    assert read_mathml("<math><mi>a</mi><mo>&#8290;</mo><mi>b</mi></math>").symbols == ("a", "b")


def test_primes():
    assert edges("<msup><mi>f</mi><mo>&#8243;</mo></msup>") == [r"f Sup \prime1", r"\prime1 Right \prime2"]


def test_fences():
    graph = read_mathml('<math><mfenced open="[" close="}"><mi>a</mi><mi>b</mi><mi>c</mi></mfenced></math>')
    assert graph.symbols == ("[", "a", ",", "b", ",", "c", r"\}")
    graph = read_mathml('<math><mfenced separators=""><mi>a</mi><mi>b</mi></mfenced></math>')
    assert graph.symbols == ("(", "a", "b", ")")


def test_empty_base_leaves_the_script_to_the_symbol_before():
    assert edges("<mi>x</mi><msup><mrow/><mn>2</mn></msup>") == ["x Sup 2"]
    with pytest.raises(MathmlError, match="no symbol to stand at"):
        read_mathml("<math><msup><mrow/><mn>2</mn></msup></math>")
    with pytest.raises(MathmlError, match="no symbol to stand at"):
        read_mathml("<math><mi>y</mi><msqrt><msub><mrow/><mn>2</mn></msub></msqrt></math>")


def test_empty_scripts_and_invisible_elements_put_nothing_on_paper():
    body = "<msub><mi>a</mi></msub><mspace/><msup><mi>b</mi><mrow/></msup><mphantom><mi>z</mi></mphantom>"
    assert edges(body) == ["a Right b"]


def test_namespace_and_surroundings_do_not_matter():
    plain = read_mathml("<math><mi>x</mi></math>")
    assert read_mathml('<m:math xmlns:m="http://www.w3.org/1998/Math/MathML"><m:mi>x</m:mi></m:math>') == plain
    assert read_mathml("<html><body><p>Text</p><math><mi>x</mi></math></body></html>") == plain
    assert read_mathml(b"<math><mi>x<!-- a comment --></mi></math>") == plain


def test_reading_order():
    graph = read_mathml("<math><mfrac><mi>a</mi><mi>b</mi></mfrac><mi>c</mi></math>")
    assert graph.symbols == ("-", "a", "b", "c")
    assert graph.relations[-1] == Relation(0, 3, "Right")


def test_tables_binomials_marks_and_frames():
    cells = "<mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr><mtr><mtd><mi>c</mi></mtd></mtr>"
    table = [
        "&1 Inside a",
        "&1 Right &2",
        "&2 Inside b",
        "&1 Below &3",
        "&3 Inside c",
    ]
    assert sorted(edges(f"<mtable>{cells}</mtable>")) == sorted(table)
    assert edges("<mtable><mtr><mtd><mi>a</mi></mtd></mtr></mtable><mi>b</mi>") == ["a Right b"]
    binomial = '<mo>(</mo><mfrac linethickness="0pt"><mi>n</mi><mi>k</mi></mfrac><mo>)</mo>'
    assert same_graph(read_mathml(f"<math>{binomial}</math>"), parse_latex(r"\binom{n}{k}"))
    assert edges("<mover><mi>x</mi><mo>^</mo></mover><mi>y</mi>") == [r"\hat Below x", r"\hat Right y"]
    assert edges("<munder><mi>x</mi><mo>_</mo></munder>") == [r"\underline Above x"]
    assert edges('<menclose notation="circle"><mi>x</mi></menclose>') == [r"\bigcirc Inside x"]


@pytest.mark.parametrize(
    "latex",
    [
        r"x^2_1 + \frac{a}{b}",
        r"\sqrt[3]{x} \leq \sum_{i=1}^n \int_0^1",
        r"f'' (x)",
        r"\hat{x} + \overline{ab}",
        r"\omega \hbar \partial W",
        r"\mathbb{R}",
        r"\binom{n}{k}",
        r"\left( \begin{matrix} a & b \\ c & d \end{matrix} \right)",
        r"\begin{cases} a & b \\ c & d \end{cases}",
    ],
)
def test_latex_by_way_of_mathml_is_the_graph_of_the_latex(latex):
    assert same_graph(read_mathml(latex_to_mathml(latex)), parse_latex(latex))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "no symbols"),
        ("<mi>é</mi>", "'é'"),
        (r"<mi>\foo</mi>", "foo"),
        ("<mi>ab@</mi>", "'@'"),
        ("<mfrac><mrow/><mi>b</mi></mfrac>", "numerator of a fraction is empty"),
        ("<mfrac><mi>b</mi><mrow/></mfrac>", "denominator of a fraction is empty"),
        ("<mfrac><mi>b</mi></mfrac>", "1 children, not 2"),
        ("<msqrt/>", "radicand of a root is empty"),
        ("<msubsup><mi>x</mi><mi>i</mi></msubsup>", "2 children, not 3"),
        ("<mtable/>", "no symbols"),
        ("<mover><mrow/><mo>^</mo></mover>", "a mark stands at"),
        ("<mmultiscripts><mi>a</mi></mmultiscripts>", "mmultiscripts"),
        ("<menclose><mi>a</mi></menclose>", "menclose"),
        ("<mrow>x<mi>y</mi></mrow>", "outside mi, mn, mo"),
        ("<mi>x</mi>y", "outside mi, mn, mo"),
    ],
)
def test_refused(body, reason):
    with pytest.raises(MathmlError, match=reason) as caught:
        read_mathml(f"<math>{body}</math>")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        "",
        "<math>",
        "no xml",
        "<math><mi>x</mi></math><more/>",
        b'<?xml version="1.0" encoding="no-such"?><math/>',
        b"\xff\xfe\x00",
        "<math><mi>&undeclared;</mi></math>",
    ],
)
def test_what_is_no_xml_is_refused(document):
    with pytest.raises(MathmlError):
        read_mathml(document)


def test_two_formulas_are_refused():
    with pytest.raises(MathmlError, match="2 math elements"):
        read_mathml("<p><math><mi>x</mi></math><math><mi>y</mi></math></p>")


def test_entities_are_refused_internal_and_external(tmp_path):
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "lol"}">' for i in range(10))
    with pytest.raises(MathmlError, match="EntitiesForbidden"):
        read_mathml(f"<!DOCTYPE math [{laughs}]><math><mi>&l9;</mi></math>")
    secret = tmp_path / "secret"
    secret.write_text("x")
    with pytest.raises(MathmlError, match="EntitiesForbidden"):
        read_mathml(f'<!DOCTYPE math [<!ENTITY s SYSTEM "file://{secret}">]><math><mi>&s;</mi></math>')


def test_broken_utf8_never_passes_for_a_symbol():
    with pytest.raises(MathmlError, match="not one of the"):
        read_mathml(b"<math><mi>\xff</mi></math>")
    # Where no symbol is touched it does no harm.
    assert read_mathml(b"<math><mi>x</mi><!-- \xff --></math>").symbols == ("x",)


def test_nesting_costs_no_recursion():
    depth = 20_000
    rows = "<mrow>" * depth + "<mi>x</mi>" + "</mrow>" * depth
    assert read_mathml(f"<math>{rows}</math>").symbols == ("x",)
    scripts = "<msup><mi>x</mi>" * 2000 + "<mi>y</mi>" + "</msup>" * 2000
    assert len(read_mathml(f"<math>{scripts}</math>")) == 2001
