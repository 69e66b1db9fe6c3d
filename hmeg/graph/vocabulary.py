"""Symbols and relations: names, what kind of sign each symbol is, and the ids that models know them by.

Two vocabularies come with the package. ``Vocabulary.crohme()`` has CROHME's 101 symbols, with the ids of the published
data layout: 1..101 in sorted order of the names; id 0 is the reserved ``__image__`` class, which never occurs in a
graph. ``Vocabulary.open()`` has these first, with the same ids, and then all others of the table ``symbols.txt``.
Graphs hold names; ids are a matter of the weights that draw them.

Edge type 0 is ``none``; a forward relation has an odd id and its inverse the next even one.
"""

from __future__ import annotations

import functools
import importlib.resources
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hmeg.quoting import quoted

IMAGE_LABEL = "__image__"
TABLE_FILE = "symbols.txt"

# What a symbol is, as far as reading, writing and typesetting it depends on that.
KINDS = {
    "letter": "of any alphabet, and signs that stand for a quantity",
    "digit": "",
    "operator": "between two operands",
    "relation": "between two sides",
    "arrow": "a relation that is an arrow",
    "opening": "a bracket that opens",
    "closing": "a bracket that closes",
    "bar": "a bracket that does both",
    "punctuation": "",
    "large": "an operator with limits below and above, such as a sum",
    "integral": "an operator with limits to its right",
    "function": "a function's name in one symbol; lim takes limits below and above",
    "accent": "a mark over or under what hangs on it, stretched to its width",
    "frame": "drawn around what is Inside: a root, a circle, a box",
    "sign": "everything else",
    "cell": "the place of an entry of an array; leaves no ink",
}

RELATIONS: tuple[str, ...] = ("Right", "Sub", "Sup", "Above", "Below", "Inside")
NUM_EDGE_TYPES = 2 * len(RELATIONS) + 1  # 13
NO_RELATION = 0

_RELATION_TYPE = {name: 2 * i + 1 for i, name in enumerate(RELATIONS)}
_SECTIONS = ("crohme", "open")


@dataclass(frozen=True)
class Symbol:
    """One line of a table of symbols.

    name        as it stands in graphs; its first spelling in LaTeX
    kind        one of :data:`KINDS`
    like        name of a symbol with the same proportions, or None
    box         width, lowest and highest point over the base line, in heights of an x; or None
    characters  Unicode characters for it
    spellings   other spellings in LaTeX
    words       other names, as in MathML's entities
    """

    name: str
    kind: str
    like: str | None = None
    box: tuple[float, float, float] | None = None
    characters: str = ""
    spellings: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def line(self) -> str:
        """Its line in a table."""
        parts = [self.name, self.kind]
        parts += [f"like={self.like}"] if self.like else []
        parts += ["box=" + ",".join(f"{number:g}" for number in self.box)] if self.box else []
        parts += [f"chars={self.characters}"] if self.characters else []
        parts += [f"also={','.join(self.spellings)}"] if self.spellings else []
        parts += [f"words={','.join(self.words)}"] if self.words else []
        return " ".join(parts)

    @property
    def has_ink(self) -> bool:
        """Whether it leaves anything on paper."""
        return self.kind != "cell"


class Vocabulary:
    """Symbols with ids 1, 2, ... in their order. ``ValueError`` for a name or a spelling that two symbols have."""

    def __init__(self, symbols: Iterable[Symbol]) -> None:
        self.symbols: tuple[Symbol, ...] = tuple(symbols)
        self.names: tuple[str, ...] = tuple(symbol.name for symbol in self.symbols)
        self._ids = {name: number for number, name in enumerate(self.names, start=1)}
        if len(self._ids) < len(self.names):
            twice = next(name for number, name in enumerate(self.names, start=1) if self._ids[name] != number)
            raise ValueError(f"symbol {quoted(twice)} is in the table twice")
        self._spelled = {name: name for name in self.names}
        for symbol in self.symbols:
            for spelling in (*symbol.characters, *symbol.spellings, *symbol.words):
                if self._spelled.setdefault(spelling, symbol.name) != symbol.name:
                    raise ValueError(f"{quoted(spelling)} is both {self._spelled[spelling]} and {symbol.name}")

    @classmethod
    @functools.cache
    def crohme(cls) -> Vocabulary:
        """CROHME's 101 symbols, with the ids that published weights know them by."""
        return cls(_sections()["crohme"])

    @classmethod
    @functools.cache
    def open(cls) -> Vocabulary:
        """All symbols of the table: CROHME's with their ids, then the others."""
        sections = _sections()
        return cls([*sections["crohme"], *sections["open"]])

    @classmethod
    def from_table(cls, text: str, source: str = "the table") -> Vocabulary:
        """The symbols of a table in the format of ``symbols.txt``, with ids in their order; ``ValueError`` for none."""
        return cls(symbol for _, symbol in _table(text, source, None))

    def to_table(self) -> str:
        """A table that :meth:`from_table` reads as this vocabulary: what weights carry."""
        return "".join(symbol.line() + "\n" for symbol in self.symbols)

    def extended(self, path: str | os.PathLike[str]) -> Vocabulary:
        """This vocabulary and, after it, the symbols of a table of one's own (the format is ``symbols.txt``'s).

        ``ValueError`` that names file and line for a line that is none, or a symbol that is known already.
        """
        file = Path(path)
        lines = [*_table(file.read_text(encoding="utf-8"), str(file), None)]
        try:
            return Vocabulary([*self.symbols, *(symbol for _, symbol in lines)])
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None

    def joined(self, other: Vocabulary) -> Vocabulary:
        """This vocabulary and, after it, the symbols of ``other`` that it has not; itself where there are none."""
        more = [symbol for symbol in other if symbol.name not in self._ids]
        return Vocabulary([*self.symbols, *more]) if more else self

    def of(self, names: Sequence[str]) -> Vocabulary:
        """Only the symbols of these names, with ids in their order. ``ValueError`` for a name that is not known."""
        return Vocabulary(self[name] for name in names)

    def __len__(self) -> int:
        return len(self.symbols)

    def __iter__(self) -> Iterator[Symbol]:
        return iter(self.symbols)

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def __getitem__(self, name: str) -> Symbol:
        return self.symbols[self.id_of(name) - 1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.symbols == other.symbols

    def __hash__(self) -> int:
        return hash(self.names)

    @property
    def num_classes(self) -> int:
        """Symbols and the reserved class 0."""
        return len(self.symbols) + 1

    def id_of(self, name: str) -> int:
        """Class id, from 1; ``ValueError`` for a symbol that is not in the vocabulary."""
        try:
            return self._ids[name]
        except KeyError:
            raise ValueError(f"symbol {quoted(name)} is not one of the {len(self)} known symbols") from None

    def name_of(self, class_id: int) -> str:
        """Name of the symbol with a class id; ``ValueError`` outside 1..len."""
        if not 1 <= class_id <= len(self.symbols):
            raise ValueError(f"symbol id {class_id} is outside 1..{len(self.symbols)}")
        return self.names[class_id - 1]

    def spelled(self, text: str) -> str | None:
        """Name of the symbol that ``text`` is a spelling, a character or a word for; None when it is none."""
        return self._spelled.get(text)

    def kind_of(self, name: str) -> str | None:
        """Kind of a symbol, or None for one that is not in the vocabulary."""
        number = self._ids.get(name)
        return None if number is None else self.symbols[number - 1].kind

    def unknown(self, names: Iterable[str]) -> list[str]:
        """The names that are not in the vocabulary, each once, in their order."""
        return [name for name in dict.fromkeys(names) if name not in self._ids]

    def require(self, names: Iterable[str], who: str) -> None:
        """``ValueError`` when ``who`` (``weights 'small'``), knowing this vocabulary, does not know all ``names``."""
        if missing := self.unknown(names):
            shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise ValueError(f"{who} do not know {shown}; they know {len(self)} symbols: hmeg info --symbols")


def _table(text: str, source: str, section: str | None) -> Iterator[tuple[str | None, Symbol]]:
    """Section and symbol of every line of a table."""
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or line.startswith("# ") or line == "#":
            continue
        if len(fields) == 1 and fields[0].strip("[]") in _SECTIONS:
            section = fields[0].strip("[]")
            continue
        try:
            yield section, _symbol(fields)
        except ValueError as error:
            raise ValueError(f"{source}, line {number}: {error}") from None


def _symbol(fields: list[str]) -> Symbol:
    if len(fields) < 2 or fields[1] not in KINDS:
        raise ValueError(f"a symbol's name is followed by its kind, one of {', '.join(KINDS)}")
    symbol = Symbol(fields[0], fields[1])
    for field in fields[2:]:
        key, _, value = field.partition("=")
        if key == "like" and value:
            symbol = replace(symbol, like=value)
        elif key == "box":
            width, low, high = _numbers(value)
            symbol = replace(symbol, box=(width, low, high))
        elif key == "chars":
            symbol = replace(symbol, characters=value)
        elif key == "also":
            symbol = replace(symbol, spellings=tuple(value.split(",")))
        elif key == "words":
            symbol = replace(symbol, words=tuple(value.split(",")))
        else:
            raise ValueError(f"{quoted(field)} is none of like=, box=, chars=, also=, words=")
    return symbol


def _numbers(text: str) -> tuple[float, float, float]:
    try:
        width, low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"box={text} is not WIDTH,LOW,HIGH") from None
    if not (width > 0 and high > low):
        raise ValueError(f"box={text} has no area")
    return width, low, high


@functools.cache
def _sections() -> dict[str, list[Symbol]]:
    text = importlib.resources.files(__package__).joinpath(TABLE_FILE).read_text(encoding="utf-8")
    sections: dict[str, list[Symbol]] = {name: [] for name in _SECTIONS}
    for section, symbol in _table(text, TABLE_FILE, None):
        assert section is not None, f"{TABLE_FILE}: {symbol.name} stands before the first section"
        sections[section].append(symbol)
    # Sorted, so that an id of CROHME's is a function of the set of names alone.
    sections["crohme"].sort(key=lambda symbol: symbol.name)
    return sections


# CROHME's vocabulary by functions: what published weights and their data are made of.
SYMBOL_LABELS: tuple[str, ...] = Vocabulary.crohme().names
NUM_SYMBOL_CLASSES = Vocabulary.crohme().num_classes  # 102: the reserved class 0 included


def is_symbol(label: str) -> bool:
    """Whether ``label`` is one of CROHME's 101 symbols."""
    return label in Vocabulary.crohme()


def symbol_id(label: str) -> int:
    """Class id (1..101) of one of CROHME's symbols; ``ValueError`` if the label is not among them."""
    return Vocabulary.crohme().id_of(label)


def symbol_label(class_id: int) -> str:
    """Label of a symbol class id (1..101); ``ValueError`` outside that range."""
    return Vocabulary.crohme().name_of(class_id)


def relation_type(name: str) -> int:
    """Edge type (odd, 1..11) of a forward relation; its inverse is one more."""
    try:
        return _RELATION_TYPE[name]
    except KeyError:
        raise ValueError(f"relation {quoted(name)} is not one of {', '.join(RELATIONS)}") from None


def relation_name(edge_type: int) -> str:
    """Name of an edge type (0..12): ``none``, a relation, or a relation followed by ``^-1``."""
    if not 0 <= edge_type < NUM_EDGE_TYPES:
        raise ValueError(f"edge type {edge_type} is outside 0..{NUM_EDGE_TYPES - 1}")
    if edge_type == NO_RELATION:
        return "none"
    name = RELATIONS[(edge_type - 1) // 2]
    return name if edge_type % 2 else name + "^-1"
