"""Where the command line takes its expressions from; every source yields the same entries, one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hmeg.graph import SymbolGraph
from hmeg.graph.grammar import Grammar
from hmeg.graph.latex_tokens import named_line
from hmeg.graph.open_grammar import OpenGrammar
from hmeg.graph.vocabulary import Vocabulary

from .tasks import Task, as_graph, check_symbols

# A longer line is no formula; it is never held in memory as a whole.
MAX_LINE_BYTES = 1 << 16
_SHOWN_OF_LONG_LINE = 200


@dataclass(frozen=True)
class Entry:
    """One expression on its way in, or one that cannot even be read.

    line       number from 1: of the line in a file, of the argument, of the random expression
    text       the expression as it came
    problem    why it cannot be read, or None
    from_file  whether it came from a file
    name       what the file calls it, in a line `name<TAB>latex`
    """

    line: int
    text: str
    problem: str | None = None
    from_file: bool = False
    name: str | None = None


def from_arguments(texts: Sequence[str]) -> Iterator[Entry]:
    """Expressions given one by one."""
    return (Entry(number, text) for number, text in enumerate(texts, start=1))


def from_grammar(count: int, seed: int) -> Iterator[Entry]:
    """``count`` random expressions: expressions 0, 1, ... of ``seed`` (see :mod:`hmeg.graph.grammar`)."""
    grammar = Grammar.crohme()
    return (Entry(index + 1, grammar.draw(seed, index)) for index in range(count))


def from_open_grammar(count: int, seed: int, known: Vocabulary) -> Iterator[Entry]:
    """``count`` random expressions of the symbols ``known`` (see :mod:`hmeg.graph.open_grammar`)."""
    grammar = OpenGrammar(known)
    return (Entry(index + 1, grammar.draw(seed, index)) for index in range(count))


def from_path(path: Path) -> Iterator[Entry]:
    """:func:`from_file` of the file at ``path``, which is open as long as it is read."""
    with path.open("rb") as file:
        yield from from_file(file)


def from_file(file: BinaryIO) -> Iterator[Entry]:
    """The lines of a file, UTF-8 with or without a byte order mark; blank lines are counted, but yield nothing.

    Memory is bounded by :data:`MAX_LINE_BYTES`, whatever the file holds.
    """
    for number, (raw, whole) in enumerate(_lines(file), start=1):
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if not raw.strip():
            continue
        if not whole:
            start = raw[:_SHOWN_OF_LONG_LINE].decode("utf-8", "backslashreplace")
            yield Entry(number, start + "...", f"the line is longer than {MAX_LINE_BYTES} bytes", True)
            continue
        try:
            name, text = named_line(raw.decode("utf-8").strip())
            yield Entry(number, text, from_file=True, name=name)
        except UnicodeDecodeError as error:
            text = raw.decode("utf-8", "backslashreplace").strip()
            problem = f"the line is not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start}"
            yield Entry(number, text, problem, from_file=True)


def survey(path: Path) -> tuple[int, str]:
    """How many entries :func:`from_file` will yield for the file at ``path``, and the sha256 digest of its bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        file.seek(0)
        return sum(1 for _ in from_file(file)), digest.hexdigest()


@dataclass(frozen=True)
class Rejection:
    """An expression that cannot be used; ``index`` is what its first sample would have had."""

    index: int
    entry: Entry
    reason: str


def pieces(
    entries: Iterable[Entry],
    count: int,
    start: int = 0,
    check: Callable[[SymbolGraph], None] = check_symbols,
    known: Vocabulary | None = None,
) -> Iterator[Task | Rejection]:
    """What becomes of every entry, from index ``start`` on: ``count`` tasks, or a rejection.

    check  raises ``ValueError`` for a graph that cannot be drawn, or not written in the form that is asked for
    known  the vocabulary to read with; None: the open one

    Task k of entry e (both from 0) has index ``e * count + k``; an entry that cannot be used keeps its place in the
    numbering. Entries that lie before ``start`` altogether are not even parsed.
    """
    for position, entry in enumerate(entries):
        first, end = position * count, (position + 1) * count
        if end <= start:
            continue
        try:
            if entry.problem is not None:
                raise ValueError(entry.problem)
            graph = as_graph(entry.text, known)
            check(graph)
        except ValueError as error:
            if first >= start:
                yield Rejection(first, entry, str(error))
            continue
        for index in range(max(first, start), end):
            yield Task(index, graph, entry.line if entry.from_file else None, entry.name)


def tasks(entries: Iterable[Entry], count: int, reject: Callable[[Entry, str], None]) -> Iterator[Task]:
    """The tasks among :func:`pieces`; an entry that cannot be used is handed to ``reject`` with the reason."""
    for piece in pieces(entries, count):
        if isinstance(piece, Rejection):
            reject(piece.entry, piece.reason)
        else:
            yield piece


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Lines and whether each is whole; of one that is too long only the beginning."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        whole = line.endswith(b"\n") or len(line) <= MAX_LINE_BYTES
        rest = line
        while not whole and rest and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES)
        yield line, whole
