"""The table of symbols: ids that stay, names that are told apart, tables of one's own."""

from __future__ import annotations

import hashlib

import pytest

from hmeg.graph import SymbolGraph
from hmeg.graph.baselines import baseline_from, to_latex
from hmeg.graph.latex import LatexError, parse_latex
from hmeg.graph.typeset import typeset
from hmeg.graph.vocabulary import (
    KINDS,
    NUM_SYMBOL_CLASSES,
    SYMBOL_LABELS,
    Symbol,
    Vocabulary,
    is_symbol,
    symbol_id,
    symbol_label,
)


def test_crohmes_ids_are_those_of_published_weights():
    known = Vocabulary.crohme()
    assert len(known) == 101
    assert known.num_classes == NUM_SYMBOL_CLASSES == 102
    assert known.names == SYMBOL_LABELS == tuple(sorted(SYMBOL_LABELS))
    digest = hashlib.sha256(" ".join(known.names).encode()).hexdigest()
    assert digest == "7eb3f1e7ac9a8e288b4f4ff11a44415a1fbc7f77a343e988f0e31477c7c01630"
    assert (known.id_of("!"), known.id_of(r"\sqrt"), known.id_of("|")) == (1, symbol_id(r"\sqrt"), 101)
    assert known.name_of(101) == symbol_label(101) == "|"
    assert is_symbol("x")
    assert not is_symbol("W")


def test_the_open_vocabulary_begins_with_crohmes():
    known = Vocabulary.open()
    assert known.names[:101] == SYMBOL_LABELS
    assert len(known) > 350
    assert {symbol.kind for symbol in known} == KINDS.keys()
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        assert known.kind_of(letter) == "letter"
    for greek in [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "pi",
        "rho",
        "sigma",
        "tau",
    ]:
        assert "\\" + greek in known


def test_every_symbol_has_proportions():
    known = Vocabulary.open()
    for symbol in known:
        assert symbol.name in SYMBOL_LABELS or symbol.box or symbol.like in SYMBOL_LABELS or known[symbol.like].box


def test_spellings():
    known = Vocabulary.open()
    assert known.spelled("≤") == known.spelled(r"\leqslant") == r"\leq"
    assert known.spelled(r"\mathds{R}") == r"\mathbb{R}"
    assert known.spelled("no such") is None
    assert known.kind_of(r"\sum") == "large"
    assert known.kind_of("no such") is None


def test_unknown_symbols_are_named():
    known = Vocabulary.crohme()
    assert known.unknown(["x", r"\omega", "W", r"\omega"]) == [r"\omega", "W"]
    known.require(["x", "y"], "weights 'small'")
    with pytest.raises(ValueError, match=r"weights 'small' do not know \\omega, W; they know 101 symbols"):
        known.require(["x", r"\omega", "W"], "weights 'small'")
    with pytest.raises(ValueError, match=r"symbol '\\omega' is not one of the 101 known symbols"):
        known.id_of(r"\omega")
    with pytest.raises(ValueError, match="outside"):
        known.name_of(102)


def test_graphs_take_their_ids_from_a_vocabulary():
    graph = SymbolGraph(("x", r"\omega"))
    with pytest.raises(ValueError, match=r"'\\omega' is not one of the 101"):
        graph.symbol_ids()
    assert graph.symbol_ids(Vocabulary.open()).tolist() == [symbol_id("x"), Vocabulary.open().id_of(r"\omega")]
    mine = Vocabulary([Symbol(r"\omega", "letter"), Symbol("x", "letter")])
    assert graph.symbol_ids(mine).tolist() == [2, 1]


def test_a_part_of_a_vocabulary():
    part = Vocabulary.open().of(["W", "x"])
    assert (part.names, part.id_of("x")) == (("W", "x"), 2)
    assert part == Vocabulary([Vocabulary.open()["W"], Vocabulary.open()["x"]])
    with pytest.raises(ValueError, match="'no' is not one of"):
        Vocabulary.open().of(["no"])


def test_a_table_of_ones_own(tmp_path):
    table = tmp_path / "mine.txt"
    table.write_text("# mine\n\n\\smiley sign box=1,0,1.2 chars=☺ also=\\happy words=smile\n", encoding="utf-8")
    known = Vocabulary.open().extended(table)
    assert known.id_of(r"\smiley") == len(Vocabulary.open()) + 1
    assert known.spelled("☺") == known.spelled(r"\happy") == known.spelled("smile") == r"\smiley"
    assert known[r"\smiley"].box == (1.0, 0.0, 1.2)
    assert known[r"\smiley"].has_ink
    graph = parse_latex(r"x^{\happy} + ☺", known=known)
    assert graph.symbols == ("x", r"\smiley", "+", r"\smiley")
    assert parse_latex(to_latex(baseline_from(graph)), known=known) == graph
    with pytest.raises(LatexError, match="unknown macro"):
        parse_latex(r"\happy")
    wide = Vocabulary.open().joined(Vocabulary([Symbol(r"\wide", "sign", box=(4.0, 0.0, 1.0))]))
    (box,) = typeset(SymbolGraph((r"\wide",)), wide)
    assert box[2] - box[0] > 3 * (box[3] - box[1])
    assert not known["&"].has_ink


def test_tables_are_written_as_they_are_read():
    for known in (Vocabulary.open(), Vocabulary.crohme(), Vocabulary.open().of([r"\omega", "W"])):
        assert Vocabulary.from_table(known.to_table()) == known
    with pytest.raises(ValueError, match="mine, line 1"):
        Vocabulary.from_table("x", "mine")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("\\smiley", "line 1: .*followed by its kind"),
        ("\\smiley face", "line 1: .*one of letter"),
        ("\\smiley sign box=1,2", "line 1: box=1,2 is not WIDTH,LOW,HIGH"),
        ("\\smiley sign box=1,2,1", "line 1: box=1,2,1 has no area"),
        ("\\smiley sign size=3", "line 1: 'size=3' is none of"),
        ("x sign", "symbol 'x' is in the table twice"),
        ("\\smiley sign also=\\le", r"'\\le' is both \\leq and \\smiley"),
    ],
)
def test_tables_that_are_none(tmp_path, line, reason):
    table = tmp_path / "mine.txt"
    table.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"mine.txt.*{reason}"):
        Vocabulary.open().extended(table)


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a\n", "\x00"])
def test_what_is_no_name(name):
    with pytest.raises(ValueError, match="is no name of a symbol"):
        SymbolGraph((name,))
