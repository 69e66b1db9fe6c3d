"""Edit distances, expression rates and counting errors with known answers."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from hmeg.recognition.edits import aligned, edit_distance
from hmeg.recognition.recogniser import Reading
from hmeg.recognition.scores import score, true_counts
from hmeg.recognition.words import Words, default_words, read_words


@pytest.mark.parametrize(
    ("reference", "prediction", "distance"),
    [
        ("kitten", "sitting", 3),
        ("saturday", "sunday", 3),
        ("", "", 0),
        ("abc", "", 3),
        ("", "abc", 3),
        ("abc", "abc", 0),
        ("ab", "ba", 2),
        ("flaw", "lawn", 2),
    ],
)
def test_edit_distance(reference: str, prediction: str, distance: int) -> None:
    assert edit_distance(reference, prediction) == distance
    edits = aligned(reference, prediction)
    assert sum(kind != "same" for kind, _, _ in edits) == distance
    assert "".join(wanted for _, wanted, _ in edits) == reference
    assert "".join(got for _, _, got in edits) == prediction


def test_alignment_names_what_happened() -> None:
    assert aligned(["x", "+", "1"], ["x", "1", "2"]) == [
        ("same", "x", "x"),
        ("replace", "+", "1"),
        ("replace", "1", "2"),
    ]
    assert aligned(["a"], ["a", "b"]) == [("same", "a", "a"), ("insert", "", "b")]
    assert aligned(["a", "b"], ["b"]) == [("delete", "a", ""), ("same", "b", "b")]


def test_edit_distance_is_a_metric() -> None:
    words = ["", "a", "ab", "ba", "abc", "cab"]
    for a, b, c in itertools.product(words, repeat=3):
        assert edit_distance(a, b) == edit_distance(b, a)
        assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


WORDS = Words(["eos", "sos", "x", "1", "^", "_", "{", "}"])


def reading(tokens: str, counts: dict[str, float]) -> Reading:
    vector = np.zeros(len(WORDS))
    for token, count in counts.items():
        vector[WORDS.ids[token]] = count
    return Reading(tuple(tokens.split()), vector)


def test_scores() -> None:
    references = [["x"], ["x", "^", "{", "1", "}"], ["1", "1", "1", "1"], ["x", "x"]]
    readings = [
        reading("x", {"x": 1}),  # right
        reading("x 1 }", {"x": 1, "1": 1, "^": 0.8}),  # two edits; counts of ^ should be 0
        reading("1 1 1", {"1": 3}),  # one edit
        reading("", {"x": 2}),  # two
    ]
    scores, distances = score(WORDS, references, readings)
    assert distances == [0, 2, 1, 2]
    assert (scores.exprate, scores.within_1, scores.within_2, scores.within_3) == (0.25, 0.5, 1.0, 1.0)
    assert scores.expressions == 4
    assert scores.token_errors == pytest.approx(5 / 12)
    assert scores.counting_mae == pytest.approx((0 + 0.8 / 8 + 1 / 8 + 0) / 4)
    assert scores.counting_mse == pytest.approx((0.8 / 8**0.5 + 1 / 8**0.5) / 4)


def test_a_token_that_the_dictionary_lacks_is_never_right() -> None:
    scores, distances = score(WORDS, [["y"]], [reading("x", {})])
    assert (scores.exprate, distances) == (0.0, [1])


def test_nothing_to_score() -> None:
    for references, readings in (([], []), ([["x"]], [])):
        with pytest.raises(ValueError, match="cannot be compared"):
            score(WORDS, references, readings)


def test_counts_leave_out_what_leaves_no_ink() -> None:
    counts = true_counts(WORDS, ["x", "^", "{", "x", "1", "}", "sos"])
    assert dict(zip(WORDS.words, counts, strict=True)) == {
        "eos": 0, "sos": 0, "x": 2, "1": 1, "^": 0, "_": 0, "{": 0, "}": 0
    }  # fmt: skip


def test_the_default_dictionary_is_laid_out_as_published() -> None:
    words = default_words()
    assert len(words) == 111
    assert words.uncounted == (0, 1, 107, 108, 109, 110)
    assert not words.unknown(
        [r"\frac", r"{", r"a", r"}", r"{", r"b", r"}", r"\sqrt", r"[", r"{", r"3", r"}", r"]", r"\limits", r"_", r"^"]
    )
    assert words.unknown(["eos", "sos", "\\hat", "x"]) == ["eos", "sos", "\\hat"]
    ids = words.encode(["x", "^"])
    assert ids[-1] == 0
    assert words.decode(ids[:-1]) == ("x", "^")


def test_a_dictionary_without_names_follows_the_published_ids() -> None:
    assert Words(["eos", "sos", *(f"w{n}" for n in range(2, 111))]).uncounted == (0, 1, 107, 108, 109, 110)
    assert Words(["eos", "sos", "a"]).uncounted == (0, 1)


def test_dictionary_files(tmp_path: Path) -> None:
    good = tmp_path / "words.txt"
    good.write_text("eos\nsos\na\nb\n\n")
    assert read_words(good).words == ("eos", "sos", "a", "b")
    for content, problem in (
        (b"a\nb\nc\n", "first two words"),
        (b"eos\nsos\na\na\n", "twice"),
        (b"eos\nsos\n", "2 words"),
        (b"", "first two words"),
        (b"\xff\xfe", "not UTF-8"),
    ):
        good.write_bytes(content)
        with pytest.raises(ValueError, match=problem):
            read_words(good)
    with pytest.raises(ValueError, match=r"none\.txt"):
        read_words(tmp_path / "none.txt")
