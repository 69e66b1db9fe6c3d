"""CROHME label graphs and symLG: read, write, round trips, refusals."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmeg.data.inkml import read_inkml
from hmeg.graph.label_graph import LabelGraphError, parse_lg, read_lg, symbol_paths, write_lg, write_symlg
from hmeg.graph.latex import parse_latex
from hmeg.graph.symbol_graph import Relation, SymbolGraph
from hmeg.graph.tree import NotATreeError, canonical_form, same_graph, tree_text, walk
from hmeg.graph.vocabulary import RELATIONS, SYMBOL_LABELS

TWO_PLUS_TWO = """# IUD, sum
O, 2_a, 2, 1.0, s1
O, +_a, +, 1.0, s2, s3
O, 2_b, 2, 1.0, s4

R, 2_a, +_a, Right, 1.0
EO, +_a, 2_b, Right, 1.0
"""


@st.composite
def trees(draw: st.DrawFn) -> SymbolGraph:
    """Trees of any shape, their nodes in any order."""
    labels = draw(st.lists(st.sampled_from(SYMBOL_LABELS), min_size=1, max_size=25))
    order = draw(st.permutations(range(len(labels))))
    relations = [
        Relation(order[draw(st.integers(0, i - 1))], order[i], draw(st.sampled_from(RELATIONS)))
        for i in range(1, len(labels))
    ]
    return SymbolGraph(tuple(labels), tuple(draw(st.permutations(relations))))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(trees())
def test_what_is_written_is_read_again(graph):
    assert read_lg(write_lg(graph, "name")) == graph
    assert read_lg(write_symlg(graph, "name")) == graph


@settings(max_examples=100, deadline=None, derandomize=True)
@given(trees(), st.randoms())
def test_comparison_ignores_node_order_and_nothing_else(graph, random):
    order = list(range(len(graph)))
    random.shuffle(order)
    symbols = [""] * len(graph)
    for row, place in enumerate(order):
        symbols[place] = graph.symbols[row]
    relations = [Relation(order[r.subject], order[r.object], r.name) for r in graph.relations]
    random.shuffle(relations)
    assert same_graph(graph, SymbolGraph(tuple(symbols), tuple(relations)))
    other = "x" if graph.symbols[0] != "x" else "y"
    assert not same_graph(graph, SymbolGraph((other, *graph.symbols[1:]), graph.relations))
    if graph.relations:
        first = graph.relations[0]
        name = "Sub" if first.name != "Sub" else "Sup"
        changed = (Relation(first.subject, first.object, name), *graph.relations[1:])
        assert not same_graph(graph, SymbolGraph(graph.symbols, changed))


def test_objects_strokes_and_name_are_read():
    read = parse_lg(TWO_PLUS_TWO)
    assert read.graph == SymbolGraph(("2", "+", "2"), (Relation(0, 1, "Right"), Relation(1, 2, "Right")))
    assert read.strokes == (("s1",), ("s2", "s3"), ("s4",))
    assert read.ids == ("2_a", "+_a", "2_b")
    assert read.name == "sum"
    assert parse_lg(b"\xef\xbb\xbf" + TWO_PLUS_TWO.replace("\n", "\r\n").encode()) == read


def test_primitive_format_means_the_same():
    primitives = """
    N, s1, 2, 1.0
    N, s2, +, 1.0
    N, s3, +, 1.0
    N, s4, 2, 1.0
    E, s2, s3, *, 1.0
    E, s3, s2, *, 1.0
    E, s1, s2, Right, 1.0
    E, s1, s3, R, 1.0
    E, s2, s4, Right, 1.0
    E, s3, s4, Right, 1.0
    """
    read = parse_lg(primitives)
    assert read.graph == read_lg(TWO_PLUS_TWO)
    assert read.strokes == (("s1",), ("s2", "s3"), ("s4",))
    # Later files mark the strokes of one symbol by its label in place of the star.
    assert parse_lg(primitives.replace("*", "+")) == read


def test_inherited_relations_are_reduced_to_the_tree():
    # (a^b)c with every relation inherited: a is left of c's subscript too.
    read = read_lg("N,1,a,1\nN,2,b,1\nN,3,c,1\nN,4,d,1\nE,1,2,Sup,1\nE,1,3,R,1\nE,1,4,R,1\nE,3,4,Sub,1\n")
    assert read == SymbolGraph(
        ("a", "b", "c", "d"), (Relation(0, 1, "Sup"), Relation(0, 2, "Right"), Relation(2, 3, "Sub"))
    )


def test_comma():
    graph = SymbolGraph((",", "a", ","), (Relation(0, 1, "Right"), Relation(1, 2, "Right")))
    for text in (write_lg(graph), write_symlg(graph)):
        assert "O, COMMA_1, COMMA, 1.0" in text
        assert "R, a_1, COMMA_2, Right, 1.0" in text
        assert read_lg(text) == graph


def test_written_form():
    graph = SymbolGraph(("F", "z", "x"), (Relation(0, 1, "Sub"), Relation(0, 2, "Right")))
    assert write_symlg(graph, "a name\nof two lines") == (
        "# IUD, a name of two lines\n"
        "# Objects(3):\n"
        "O, F_1, F, 1.0, O\n"
        "O, z_1, z, 1.0, OSub\n"
        "O, x_1, x, 1.0, ORight\n"
        "\n"
        "# Relations from SRT:\n"
        "R, F_1, z_1, Sub, 1.0\n"
        "R, F_1, x_1, Right, 1.0\n"
    )
    assert "O, z_1, z, 1.0, 7, 8\n" in write_lg(graph, strokes=[[0], [7, 8], [3]])
    with pytest.raises(ValueError, match="strokes are given for 1 symbols"):
        write_lg(graph, strokes=[[0]])


def test_paths_are_unique_even_where_a_symbol_has_two_subscripts():
    graph = SymbolGraph(("x", "a", "b"), (Relation(0, 1, "Sub"), Relation(0, 2, "Sub")))
    assert symbol_paths(graph) == ["O", "OSub", "OSub_2"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no symbols"),
        ("# IUD, empty\n", "no symbols"),
        ("X, a, b\n", "line 1: 'X'"),
        ("O, a\n", "line 1: O wants"),
        ("O, a, é, 1.0, 0\n", "line 1: symbol 'é'"),
        ("O, a, x, 1.0, 0\nO, a, x, 1.0, 1\n", "line 2: object 'a' is declared twice"),
        ("O, a, x, 1.0, 0\nR, a, b, Right, 1.0\n", "line 2: 'b' is not declared"),
        ("O, a, x, 1.0, 0\nO, b, x, 1.0, 1\nR, a, b, Beside, 1.0\n", "line 3: relation 'Beside'"),
        ("O, a, x, 1.0, 0\nR, a, a, Right, 1.0\n", "relates a symbol to itself"),
        ("O, a, x, 1.0, 0\nN, 1, x, 1.0\n", "nodes .N. and objects .O."),
        ("O, a, x, 1.0, 0\nE, 0, 0, R, 1.0\n", "line 2: an edge between strokes"),
        ("N, 1, x, 1.0\nR, 1, 1, R, 1.0\n", "line 2: a relation between objects"),
        ("N, 1, x, 1.0\nN, 1, x, 1.0\n", "line 2: stroke '1' is declared twice"),
        ("N, 1, x, 1.0\nN, 2, y, 1.0\nE, 1, 2, *, 1.0\n", "line 3: strokes of one symbol have two labels"),
        ("N,1,x,1\nN,2,y,1\nN,3,z,1\nE,1,3,R,1\nE,2,3,R,1\n", "hangs on several symbols"),
        ("N,1,x,1\nN,2,x,1\nN,3,z,1\nE,1,2,*,1\nE,1,3,R,1\nE,2,3,Sub,1\n", "line 6: two relations"),
    ],
)
def test_refused_with_the_line(text, reason):
    with pytest.raises(LabelGraphError, match=reason):
        read_lg(text)


def test_inherited_relations_between_objects_are_left_out():
    """As CROHME 2019 writes a root: Inside of it are several members of one row."""
    objects = "O, r, \\sqrt, 1.0, 0\nO, a, a, 1.0, 1\nO, p, +, 1.0, 2\nO, b, b, 1.0, 3\n"
    row = "R, a, p, Right, 1.0\nR, p, b, Right, 1.0\nR, r, a, Inside, 1.0\n"
    tree = read_lg(objects + row)
    assert same_graph(tree, parse_latex(r"\sqrt{a+b}"))
    assert read_lg(objects + "R, r, p, Inside, 1.0\nR, r, b, Inside, 1.0\n" + row) == tree
    # What does not follow from the rest stays, and is no tree.
    assert len(read_lg(objects + row + "R, r, b, Sup, 1.0\n").relations) == 4


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(LabelGraphError, match="not UTF-8"):
        read_lg(b"O, a, \xff, 1.0")


def test_graphs_that_are_no_trees():
    two_parents = SymbolGraph(("a", "b", "c"), (Relation(0, 2, "Right"), Relation(1, 2, "Right")))
    circle = SymbolGraph(("a", "b", "c"), (Relation(0, 1, "Right"), Relation(1, 2, "Right"), Relation(2, 0, "Right")))
    for graph in (two_parents, circle):
        with pytest.raises(NotATreeError):
            write_symlg(graph)
        with pytest.raises(NotATreeError):
            canonical_form(graph)
        assert read_lg(write_lg(graph)) == graph
    forest = SymbolGraph(("a", "b"))
    assert [row for row, _, _ in walk(forest)] == [0, 1]


def test_deep_and_long_trees_cost_no_recursion():
    chain = SymbolGraph(("x",) * 3000, tuple(Relation(i, i + 1, "Sup") for i in range(2999)))
    assert same_graph(chain, chain)
    assert len(walk(chain)) == 3000


def test_paths_that_would_fill_the_memory_are_refused():
    row = SymbolGraph(("x",) * 20_000, tuple(Relation(i, i + 1, "Right") for i in range(19_999)))
    with pytest.raises(LabelGraphError, match="use format lg"):
        write_symlg(row)
    assert read_lg(write_lg(row)) == row


def test_many_strokes_of_one_symbol_take_no_quadratic_time():
    count = 20_000
    lines = [f"N,{i},x,1" for i in range(count)] + [f"E,{i + 1},{i},*,1" for i in reversed(range(count - 1))]
    read = parse_lg("\n".join(lines))
    assert read.graph.symbols == ("x",)
    assert len(read.strokes[0]) == count


def test_tree_text():
    graph = SymbolGraph(
        ("-", "a", "+", "1", "b", "c"),
        (
            Relation(0, 1, "Above"),
            Relation(1, 2, "Right"),
            Relation(2, 3, "Right"),
            Relation(0, 4, "Below"),
            Relation(0, 5, "Right"),
        ),
    )
    assert tree_text(graph) == "-\n  Above: a\n         +\n         1\n  Below: b\nc\n"


def test_crohmes_own_label_graphs_equal_our_graphs_of_their_ink(shared):
    inks, label_graphs = {}, {}
    with tarfile.open(shared / "crohme" / "train.tar.xz", "r|*") as archive:
        for member in archive:
            stem, _, suffix = member.name.rpartition(".")
            if "/expressmatch/101_" in member.name and suffix in ("inkml", "lg"):
                (inks if suffix == "inkml" else label_graphs)[stem] = archive.extractfile(member).read()
    assert len(label_graphs) == 15
    for stem, data in label_graphs.items():
        ours, theirs = read_inkml(inks[stem], stem), parse_lg(data)
        assert same_graph(ours.graph, theirs.graph), stem
        segmentation = {frozenset(map(int, strokes)) for strokes in theirs.strokes}
        assert segmentation == {frozenset(strokes) for strokes in ours.symbol_strokes}, stem
