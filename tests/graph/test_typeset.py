"""The typesetter: where boxes stand for every relation, and that no graph is too odd for it."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from hmeg.data.crohme import RenderSettings
from hmeg.graph import Relation, SymbolGraph
from hmeg.graph.latex import parse_latex
from hmeg.graph.latex_macros import UNDER_MARKS
from hmeg.graph.typeset import typeset
from hmeg.graph.typeset_rows import bracket_pairs, rows_of
from hmeg.graph.vocabulary import RELATIONS, SYMBOL_LABELS, Vocabulary
from tools.typeset_statistics import _root, main, measure

HALF_STROKE = 1.25 / 256
MARGIN = 6 / 256 - HALF_STROKE  # free on each side of the longest extent
SYMBOL_SIDE = 80 / 256  # of the median symbol, at most


def boxes_of(latex: str) -> dict[str, np.ndarray]:
    """Boxes by label, of labels that occur once."""
    graph = parse_latex(latex)
    boxes = typeset(graph)
    assert_fits(boxes, len(graph))
    return dict(zip(graph.symbols, boxes, strict=True))


def assert_fits(boxes: np.ndarray, count: int) -> None:
    """Finite boxes with an extent, centred, and as large as the margin or the symbols' size allows, as in training."""
    assert boxes.shape == (count, 4) and boxes.dtype == np.float32
    assert np.isfinite(boxes).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    assert low + high == pytest.approx(1, abs=1e-5)
    whole = (high - low).max() / (1 - 2 * MARGIN)
    ink_sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) - 2 * HALF_STROKE
    median = np.median(ink_sides) / SYMBOL_SIDE
    assert max(whole, median) == pytest.approx(1, abs=1e-4)


def middle(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def height(box: np.ndarray) -> float:
    return float(box[3] - box[1])


def test_a_row_reads_from_left_to_right() -> None:
    boxes = boxes_of("a + b = c")
    order = [boxes[label] for label in "a+b=c"]
    for left, right in itertools.pairwise(order):
        assert left[2] < right[0]
        assert abs(middle(left)[1] - middle(right)[1]) < height(boxes["b"])


def test_scripts_are_small_and_to_the_right() -> None:
    boxes = boxes_of("x_{a}^{c} z")
    x, sub, sup, following = (boxes[label] for label in "xacz")
    assert sub[0] > middle(x)[0] and sup[0] > middle(x)[0]
    assert middle(sup)[1] < middle(x)[1] < middle(sub)[1]
    assert height(sub) < 0.8 * height(x) and height(sup) < 0.8 * height(x)
    assert following[0] > max(sub[2], sup[2])


def test_a_bar_is_as_wide_as_its_widest_part() -> None:
    boxes = boxes_of("\\frac{a}{b + c} z")
    graph = parse_latex("\\frac{a}{b + c} z")
    bar = typeset(graph)[graph.symbols.index("-")]
    a, b, c, z = (boxes[label] for label in "abcz")
    assert bar[0] < b[0] and bar[2] > c[2]
    assert bar[2] - bar[0] < 1.5 * (c[2] - b[0])
    assert a[3] < bar[1] and bar[3] < b[1]
    assert abs(middle(a)[0] - middle(bar)[0]) < 0.2 * (bar[2] - bar[0])
    assert z[0] > bar[2] and z[1] < bar[3] + height(z)


def test_limits_stand_over_and_under() -> None:
    boxes = boxes_of("\\sum_{i}^{n} a")
    total, low, high, body = (boxes[label] for label in ("\\sum", "i", "n", "a"))
    assert high[3] < total[1] and low[1] > total[3]
    for limit in (low, high):
        assert total[0] < middle(limit)[0] < total[2]
    assert body[0] > total[2]


def test_scripts_of_limits_stand_over_and_under_too() -> None:
    graph = SymbolGraph(("\\lim", "n", "a"), (Relation(0, 1, "Sub"), Relation(0, 2, "Right")))
    operator, script, body = typeset(graph)
    assert script[1] > operator[3] and operator[0] < middle(script)[0] < operator[2] < body[0]


@pytest.mark.parametrize("content", ["a", "a + b", "\\frac{a}{b}", "a^{b}"])
def test_a_root_holds_its_radicand(content: str) -> None:
    graph = parse_latex(f"\\sqrt{{{content}}} z")
    boxes = typeset(graph)
    root = boxes[graph.symbols.index("\\sqrt")]
    for label, box in zip(graph.symbols, boxes, strict=True):
        if label == "z":
            assert box[0] > root[2]
        elif label != "\\sqrt":
            assert root[0] < box[0] and root[1] < box[1] and box[2] < root[2]
            assert box[3] < root[3] + 0.3 * height(root)


def test_room_before_a_radicand_grows_with_its_height() -> None:
    def room(latex: str) -> float:
        graph = parse_latex(latex)
        boxes = typeset(graph)
        root = boxes[graph.symbols.index("\\sqrt")]
        others = np.delete(boxes, graph.symbols.index("\\sqrt"), axis=0)
        scale = height(others[graph.symbols.index("a") - 1])  # of the letter that both have, in rows of one size
        return float((others[:, 0].min() - root[0]) / scale)

    low, high = room(r"\sqrt{a}"), room(r"\sqrt{a^{b^{c^{d}}}}")
    assert low * 1.1 < high < low * 3


def test_roots_are_measured_by_a_line() -> None:
    heights = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    roots = [[0.75 + 0.25 * h, 0.1, 0.2, 0.3, h] for h in heights]
    assert _root(roots) == pytest.approx([0.75, 0.1, 0.2, 0.3, 0.25])
    roots.insert(0, [9.0, 0.1, 0.2, 0.3, 1.2])  # one odd writer
    assert _root(roots) == pytest.approx([0.75, 0.1, 0.2, 0.3, 0.25])
    assert _root([[0.5, 0.1, 0.2, 0.3, 1.0]] * 3) == [0.5, 0.1, 0.2, 0.3, 0.0], "all of one height"


def test_the_index_of_a_root_stands_at_its_upper_left() -> None:
    boxes = boxes_of("\\sqrt[n]{a}")
    assert middle(boxes["n"])[0] < middle(boxes["a"])[0] and middle(boxes["n"])[1] < middle(boxes["a"])[1]
    assert height(boxes["n"]) < height(boxes["\\sqrt"])


def test_brackets_grow_with_their_content() -> None:
    def share(latex: str) -> float:
        boxes = boxes_of(latex)
        return height(boxes["("]) / height(boxes["a"])

    assert share("( \\frac{a}{b} ) z") > 1.5 * share("( a + b ) z")
    boxes = boxes_of("( \\frac{a}{b} )")
    assert boxes["("][1] < middle(boxes["a"])[1] and boxes["("][3] > middle(boxes["b"])[1]
    assert boxes["("][2] < boxes["a"][0] and boxes["a"][2] < boxes[")"][0]


def test_every_symbol_alone_has_the_largest_size() -> None:
    for label in SYMBOL_LABELS:
        assert_fits(typeset(SymbolGraph((label,))), 1)
    assert typeset(SymbolGraph(())).shape == (0, 4)


def test_the_same_graph_gives_the_same_boxes() -> None:
    graph = parse_latex("\\sqrt{\\frac{a^{2}}{b_{i}}} + \\int_{0}^{1} x d x")
    assert np.array_equal(typeset(graph), typeset(graph))


def test_several_roots_follow_each_other() -> None:
    graph = SymbolGraph(("a", "b", "c"), (Relation(0, 2, "Sup"),))
    boxes = typeset(graph)
    assert boxes[1, 0] > max(boxes[0, 2], boxes[2, 2])


def test_circles_are_cut() -> None:
    graph = SymbolGraph(("a", "b", "c"), (Relation(0, 1, "Right"), Relation(1, 2, "Sup"), Relation(2, 0, "Right")))
    boxes = typeset(graph)
    assert_fits(boxes, 3)
    assert boxes[0, 2] < boxes[1, 0] and boxes[2, 1] < boxes[1, 1]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_any_graph_has_boxes(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 9))
    labels = data.draw(st.lists(st.sampled_from(SYMBOL_LABELS), min_size=count, max_size=count))
    rows = st.integers(0, count - 1)
    relations: dict[frozenset[int], Relation] = {}
    for subject, object_, name in data.draw(st.lists(st.tuples(rows, rows, st.sampled_from(RELATIONS)), max_size=14)):
        if subject != object_:
            relations.setdefault(frozenset((subject, object_)), Relation(subject, object_, name))
    graph = SymbolGraph(tuple(labels), tuple(relations.values()))
    rows_found, _ = rows_of(graph)
    assert sorted(s for row in rows_found for s in row.symbols) == list(range(count))
    assert_fits(typeset(graph), count)


@pytest.mark.parametrize("name", RELATIONS)
@pytest.mark.parametrize("label", ["x", "-", "\\sqrt", "("])
def test_five_hundred_symbols_however_deep(name: str, label: str) -> None:
    count = 500
    graph = SymbolGraph((label,) * count, tuple(Relation(i, i + 1, name) for i in range(count - 1)))
    assert_fits(typeset(graph), count)


def test_bracket_pairs_are_inner_first_and_bars_pair_up() -> None:
    assert bracket_pairs(list("((a)b)")) == [(1, 3), (0, 5)]
    assert bracket_pairs(list("|a||b|")) == [(0, 2), (3, 5)]
    assert bracket_pairs(list(")(a")) == []


TEXTS = (
    "x + a",
    "x^{2} - x",
    "\\sqrt{x} + 1",
    "\\sqrt[3]{x}",
    "\\frac{x}{y} = 2",
    "( \\frac{x + 1}{\\frac{x}{y}} ) x",
    "x_{1} x",
    "2 + x + 1 + y + a",  # a label is measured where others on its row tell the scale
    "2 + x + 1",
    "2 + x",
)


def written(texts: tuple[str, ...]) -> list[SymbolGraph]:
    """Expressions "written" by the typesetter."""
    return [graph.with_boxes(typeset(graph)) for graph in map(parse_latex, texts)]


def ink(box: np.ndarray) -> np.ndarray:
    return box + np.array([1, 1, -1, -1]) * 1.25 / 256


def test_statistics_are_measured_from_boxes() -> None:
    numbers = measure(written(TEXTS) * 20)
    width, bottom, top = numbers["symbols"]["x"]
    assert (bottom, top) == (0, 1)
    # Typeset expressions give back the proportions they were set with.
    x, a = map(ink, typeset(SymbolGraph(("x", "a"), (Relation(0, 1, "Right"),))))
    assert width == pytest.approx((x[2] - x[0]) / height(x), rel=0.02)
    base, script = map(ink, typeset(SymbolGraph(("x", "x"), (Relation(0, 1, "Sup"),))))
    assert numbers["rows"]["Sup x"][0] == pytest.approx(height(script) / height(base), rel=0.1)
    assert numbers["symbols"]["a"][2] == pytest.approx((x[3] - a[1]) / height(x), rel=0.1)


@pytest.mark.parametrize(
    ("left_out", "said"), [(range(len(TEXTS)), "letter x"), ([3], "root with index"), ([4, 5], "bar")]
)
def test_statistics_say_what_is_missing(left_out: Sequence[int], said: str) -> None:
    texts = (*(text for i, text in enumerate(TEXTS) if i not in left_out), "a + b")
    with pytest.raises(ValueError, match=said):
        measure(written(texts) * 20)


def test_statistics_of_a_prepared_data_set(tmp_path: Path) -> None:
    records = [
        {
            "symbols": graph.symbols,
            "relations": [[r.subject, r.object, r.name] for r in graph.relations],
            "boxes": np.asarray(graph.boxes).tolist(),
        }
        for graph in written(TEXTS) * 20
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "graphs.jsonl").write_text(lines)
    out = tmp_path / "out.json"
    assert CliRunner().invoke(main, [str(tmp_path), "--out", str(out)]).exit_code == 0
    assert json.loads(out.read_text()) == measure(written(TEXTS) * 20)

    (tmp_path / "graphs.jsonl").write_text(lines + "{}\n")
    result = CliRunner().invoke(main, [str(tmp_path), "--out", str(out)])
    assert result.exit_code == 1 and f"line {len(records) + 1}" in result.output
    (tmp_path / "graphs.jsonl").unlink()
    result = CliRunner().invoke(main, [str(tmp_path), "--out", str(out)])
    assert result.exit_code == 1 and "hmeg data crohme" in result.output


def test_its_frame_is_that_of_prepared_images() -> None:
    settings_of_data = RenderSettings()
    assert settings_of_data.size == 256
    assert settings_of_data.margin == (MARGIN + HALF_STROKE) * 256
    assert settings_of_data.stroke_width == 2 * HALF_STROKE * 256
    assert settings_of_data.symbol_side == SYMBOL_SIDE * 256


@pytest.mark.parametrize("mark", [s.name for s in Vocabulary.open() if s.kind == "accent"])
@pytest.mark.parametrize("content", ["a", "a b c"])
def test_marks_stand_over_or_under_their_content(mark: str, content: str) -> None:
    graph = parse_latex(f"x {mark} {{{content}}} z")
    boxes = typeset(graph)
    x, own, *inner, z = boxes
    left, right = min(b[0] for b in inner), max(b[2] for b in inner)
    if mark in UNDER_MARKS:
        assert own[1] > max(b[3] for b in inner)
    else:
        assert own[3] < min(b[1] for b in inner)
    assert abs((own[0] + own[2]) / 2 - (left + right) / 2) < 0.02
    assert x[2] < min(left, own[0]) and z[0] > max(right, own[2])
    # The content stays on the base line.
    assert abs(inner[0][3] - boxes_of(f"x {content} z")["a"][3]) < 0.5 * height(inner[0])
    if mark in (r"\overline", r"\overbrace", r"\underline", r"\overrightarrow"):
        assert own[2] - own[0] >= 0.95 * (right - left)


@pytest.mark.parametrize("frame", [r"\textcircled", r"\boxed"])
@pytest.mark.parametrize("content", ["1", "1 2", r"\frac{1}{2}"])
def test_frames_are_drawn_around_their_content(frame: str, content: str) -> None:
    own, *inner, after = typeset(parse_latex(f"{frame}{{{content}}} z"))
    for box in inner:
        assert own[0] < box[0] and own[1] < box[1] and own[2] > box[2] and own[3] > box[3]
    assert after[0] > own[2]


def test_rows_of_arrays_stand_under_each_other_in_columns() -> None:
    graph = parse_latex(r"( \begin{matrix} a & b & c \\ d & e \\ f & & g \end{matrix} ) z")
    boxes = dict(zip(graph.symbols, typeset(graph), strict=True))
    for column in ("adf", "be", "cg"):
        for upper, lower in itertools.pairwise(column):
            assert boxes[upper][3] < boxes[lower][1]
            assert abs(middle(boxes[upper])[0] - middle(boxes[lower])[0]) < 0.01
    for row in ("abc", "de", "fg"):
        for left, right in itertools.pairwise(row):
            assert boxes[left][2] < boxes[right][0]
    for bracket in "()":
        assert boxes[bracket][1] <= boxes["b"][1] + 0.01 and boxes[bracket][3] >= boxes["f"][3] - 0.01
    assert boxes["("][2] < boxes["d"][0] and boxes["c"][2] < boxes[")"][0] < boxes["z"][0]
    assert abs(middle(boxes["("])[1] - middle(boxes["z"])[1]) < height(boxes["z"])


def test_equations_meet_at_their_relations_and_cases_stand_to_the_left() -> None:
    graph = parse_latex(r"\begin{aligned} a + b &= c \\ d &\leq e \\ &\neq f \end{aligned}")
    boxes = dict(zip(graph.symbols, typeset(graph), strict=True))
    edges = [boxes[label][0] for label in ("=", r"\leq", r"\neq")]
    assert max(edges) - min(edges) < 0.01
    assert abs(boxes["b"][2] - boxes["d"][2]) < 0.01
    graph = parse_latex(r"f = \begin{cases} a + b & c \\ d & e \end{cases}")
    boxes = dict(zip(graph.symbols, typeset(graph), strict=True))
    assert abs(boxes["a"][0] - boxes["d"][0]) < 0.01
    assert boxes[r"\{"][1] <= boxes["b"][1] + 0.01 and boxes[r"\{"][3] >= boxes["d"][3] - 0.01


def test_arrays_in_arrays_are_placed_once() -> None:
    inner = r"\begin{pmatrix} 1 \\ 2 \\ 3 \end{pmatrix}"
    graph = parse_latex(rf"\begin{{vmatrix}} {inner} & x \\ y & {inner} \end{{vmatrix}}")
    boxes = typeset(graph)
    cells = [i for i, label in enumerate(graph.symbols) if label == "&"]
    ink = [boxes[i] for i in range(len(graph)) if i not in cells]
    for i, one in enumerate(ink):
        for other in ink[i + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart


def test_arrows_reach_over_what_stands_at_them() -> None:
    graph = parse_latex(r"a \xrightarrow[c]{d + e + g} b")
    boxes = dict(zip(graph.symbols, typeset(graph), strict=True))
    arrow = boxes[r"\rightarrow"]
    assert arrow[0] < boxes["d"][0] and arrow[2] > boxes["g"][2]
    assert boxes["d"][3] < arrow[1] and boxes["c"][1] > arrow[3]


def test_every_symbol_of_the_open_vocabulary_has_a_box() -> None:
    for symbol in Vocabulary.open():
        box = typeset(SymbolGraph((symbol.name,)))[0]
        assert box[2] > box[0] and box[3] > box[1]
    assert np.isfinite(typeset(SymbolGraph((r"\mine", "x"), (Relation(0, 1, "Inside"),)))).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_cells_in_any_graph_leave_boxes_finite(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    labels = data.draw(st.lists(st.sampled_from(["&", "x", r"\hat", r"\bigcirc", "("]), min_size=count, max_size=count))
    relations = []
    for row in range(1, count):
        parent = data.draw(st.integers(0, row - 1))
        relations.append(Relation(parent, row, data.draw(st.sampled_from(RELATIONS))))
    assert np.isfinite(typeset(SymbolGraph(tuple(labels), tuple(relations)))).all()
