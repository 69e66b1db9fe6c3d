"""Random expressions of all symbols: readable, short enough, the same every time, and nothing is left out."""

from __future__ import annotations

import pytest

from hmeg.graph.baselines import baseline_from, to_latex
from hmeg.graph.latex import parse_latex
from hmeg.graph.open_grammar import OpenGrammar
from hmeg.graph.vocabulary import Vocabulary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn() -> list[str]:
    return [OpenGrammar.open().draw(3, index) for index in range(3000)]


def test_every_drawing_is_read_and_written_as_it_is(drawn):
    for text in drawn:
        graph = parse_latex(text)
        assert to_latex(baseline_from(graph)) == text
        assert len(graph) <= 50


def test_every_symbol_turns_up(drawn):
    seen = {symbol for text in drawn for symbol in parse_latex(text).symbols}
    assert sorted(set(Vocabulary.open().names) - seen) == []


def test_drawings_depend_on_seed_and_index_alone(drawn):
    grammar = OpenGrammar(Vocabulary.open())
    assert [grammar.draw(3, index) for index in (7, 2999, 7)] == [drawn[7], drawn[2999], drawn[7]]
    assert grammar.draw(4, 7) != drawn[7]
    assert len(set(drawn)) > 2800
    endless = grammar.expressions(3)
    assert [next(endless), next(endless)] == drawn[:2]


def test_only_known_symbols_are_drawn():
    grammar = OpenGrammar(Vocabulary.crohme())
    for index in range(200):
        assert not Vocabulary.crohme().unknown(parse_latex(grammar.draw(1, index)).symbols)


def test_a_limit_is_kept():
    assert all(len(parse_latex(OpenGrammar.open().draw(1, index, 5))) <= 5 for index in range(100))
    with pytest.raises(ValueError, match="max_symbols must be at least 1"):
        OpenGrammar.open().draw(1, 0, 0)
