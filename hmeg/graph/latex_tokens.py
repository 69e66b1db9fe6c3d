"""LaTeX source -> its pieces with their positions; lines that are no bare formula; the error of all reading."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from hmeg.quoting import quoted

from .vocabulary import Vocabulary

_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\\\Z|[^\s\\]", re.DOTALL)
_LIST_ITEM = re.compile(r"\s*\d{1,3}\.\s+(?=\S)")
_NAME = re.compile(r"[\w.~/-]*[\w]{2}[\w.~/-]*")
_SHIFTS = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}
_ENDS = frozenset(_SHIFTS.values())
# What may follow the formula that it stands in.
_STOPS = frozenset(".,;:!?")


class LatexError(ValueError):
    r"""LaTeX that has no symbol graph.

    piece     the offending piece of the source, e.g. ``\foo``
    position  where it starts: characters before it in the source (0 for the first)
    """

    def __init__(self, message: str, piece: str, position: int) -> None:
        super().__init__(f"{message} (at position {position})")
        self.piece = piece
        self.position = position


class Token(NamedTuple):
    """One macro or character, and how many characters stand before it."""

    piece: str
    position: int


def named_line(line: str) -> tuple[str | None, str]:
    """The name and the LaTeX of a line ``name<TAB>latex``, as CAN's labels are; the name is None in any other line."""
    name, tab, latex = line.partition("\t")
    if tab and "\t" not in latex and _NAME.fullmatch(name.strip()):
        return name.strip(), latex.strip()
    return None, line


def shown(piece: str) -> str:
    """A piece for a message: quoted, and cut when it is long."""
    return quoted(piece, 40)


def tokens_of(source: str, display: bool | None = None) -> tuple[list[Token], bool]:
    """The pieces of one formula, without spaces and math shifts, and whether it is in display style.

    display  decides the style; None: in line between ``$ $`` and ``\\( \\)``, display style otherwise
    Raises LatexError for what is no bare formula: several of them on a line, words around one, an item of a list.
    """
    item = _LIST_ITEM.match(source)
    if item is not None:
        number = item.group().strip()
        raise LatexError(
            f"{quoted(number)} looks like the number of an item in a list: leave it out, or write '{number}' without "
            "a space after it for a decimal number",
            number,
            len(item.group()) - len(item.group().lstrip()),
        )
    tokens = [Token(m.group(), m.start()) for m in _TOKEN.finditer(source)]
    tokens = [part for token in tokens for part in _in_known_characters(token)]
    first = [token.piece for token in tokens[:2]]
    inline = first[:1] in (["$"], [r"\("]) and first != ["$", "$"]
    if any(token.piece in _SHIFTS or token.piece in _ENDS for token in tokens):
        tokens = _between_shifts(tokens)
    if not tokens:
        raise LatexError("the expression is empty", source, 0)
    return tokens, (not inline if display is None else display)


def _in_known_characters(token: Token) -> list[Token]:
    """A character that is another way to write known ones (full width, mathematical fonts) as these."""
    piece = token.piece
    if piece.isascii() or len(piece) > 1 or Vocabulary.open().spelled(piece) is not None:
        return [token]
    if "\u2460" <= piece <= "\u2473":  # a number in a circle
        number = unicodedata.normalize("NFKC", piece)
        return [Token(part, token.position) for part in (r"\textcircled", "{", *number, "}")]
    decomposed = unicodedata.normalize("NFKC", piece)
    # Fonts and widths, not scripts, fractions or marks, which would leave their place.
    if unicodedata.decomposition(piece).startswith(("<font>", "<wide>", "<narrow>")):
        return [Token(part, token.position) for part in decomposed]
    return [token]


def _between_shifts(tokens: list[Token]) -> list[Token]:
    """The tokens of the one formula, without its math shifts.

    TeX never prints a math shift. One that is missing or extra (CROHME has such lines, with an odd number of them) is
    passed over; but what stands around a complete pair is text, and two pairs are two formulas.
    """
    pairs: list[tuple[Token, Token]] = []
    opened: Token | None = None
    kept: list[Token] = []
    outside: list[Token] = []
    depth = at = shifts = 0
    while at < len(tokens):
        token = tokens[at]
        if token.piece == "$" and at + 1 < len(tokens) and tokens[at + 1].piece == "$":
            token = Token("$$", token.position)
        at += len(token.piece) if token.piece == "$$" else 1
        if token.piece not in _SHIFTS and token.piece not in _ENDS:
            depth += {"{": 1, "}": -1}.get(token.piece, 0)
            kept.append(token)
            if opened is None:
                outside.append(token)
        elif depth:
            continue  # in the words of a formula, as in \mbox{$x$}
        elif opened is not None and token.piece == _SHIFTS[opened.piece]:
            pairs.append((opened, token))
            opened = None
            shifts += 1
        else:
            opened = token if opened is None and token.piece in _SHIFTS else opened
            shifts += 1
    if not pairs or shifts != 2 * len(pairs):
        return kept
    if len(pairs) > 1:
        raise LatexError(f"{len(pairs)} formulas on one line", *pairs[1][0])
    for token in outside:
        if token.piece not in _STOPS or token.position < pairs[0][0].position:
            raise LatexError(f"text around a formula, from {shown(token.piece)} on", *token)
    return [token for token in kept if pairs[0][0].position < token.position < pairs[0][1].position]
