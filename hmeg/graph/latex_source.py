r"""LaTeX as people write it -> LaTeX in one plain form, or an error that names the piece and its position.

latex2mathml forgives nearly everything and keeps no positions: it takes unknown macros for text, ``3 in`` for a length
and a missing brace for the end of its input. So this pass reads the source first. It knows what a symbol graph can
hold, drops what changes nothing on paper (spaces, sizes, fonts, ``$``), maps synonyms to the vocabulary, checks braces
and arguments, and writes every argument in braces and every symbol by its label. It keeps its own stack: nesting costs
no recursion here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from latex2mathml.symbols_parser import convert_symbol

from hmeg.quoting import quoted

from . import vocabulary
from .symbol_names import label_of_name, labels_of_text

# What is nested deeper is refused: latex2mathml recurses a few frames a level, and Python allows about a thousand.
MAX_NESTING = 100
MAX_SYMBOLS = 256  # a model's graph is complete: memory grows with the square (CROHME's longest has 53)

_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\\\Z|.", re.DOTALL)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Spaces, sizes and style switches leave nothing on paper that a symbol graph could tell.
_IGNORED = _words(
    r"""
    \, \; \: \! \> \/ \quad \qquad \enspace \thinspace \medspace \thickspace \negthinspace \negmedspace
    \negthickspace \nobreakspace \space \hfill \hfil \null \mathstrut \strut \nonumber \notag \allowbreak \nobreak
    \big \Big \bigg \Bigg \bigl \Bigl \biggl \Biggl \bigr \Bigr \biggr \Biggr \bigm \Bigm \biggm \Biggm
    \rm \bf \it \sf \tt \cal \mit \tiny \small \normalsize \large \Large \LARGE \huge \Huge
    """
) | {"\\ ", "\\\n", "\\\t", "~"}
# Macros with one argument that is set as it is: letters of a word are symbols of their own.
_TRANSPARENT = _words(
    r"""
    \mbox \hbox \fbox \text \textrm \textit \textbf \textsf \texttt \textnormal \textup \textmd \emph
    \mathrm \mathit \mathbf \mathsf \mathtt \mathnormal \boldsymbol \bm \pmb
    \mathop \mathbin \mathrel \mathord \mathopen \mathclose \mathpunct \mathinner \ensuremath \smash
    """
)
_LENGTH_ARGUMENT = frozenset([r"\hspace", r"\hspace*", r"\vspace", r"\vspace*", r"\label", r"\tag", r"\tag*"])
_FRACTIONS = frozenset([r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"])
_STYLES = {r"\displaystyle": True, r"\textstyle": False, r"\scriptstyle": False, r"\scriptscriptstyle": False}
_FUNCTIONS = frozenset(["sin", "cos", "tan", "log", "lim"])
_TAKES_LIMITS = frozenset([r"\sum", r"\int", r"\lim"])
_LIMITS_IN_DISPLAY = frozenset([r"\sum", r"\lim"])
_DELIMITERS = frozenset(["(", ")", "[", "]", "|", "/", r"\{", r"\}"])
_SCRIPT_NAMES = {"^": "superscript", "_": "subscript", "'": "superscript"}
_PRIMES = {"'": 1, "\u2019": 1, "\u2032": 1, "\u2033": 2, "\u2034": 3, "\u2057": 4}
# Macros that people do write and that a symbol graph has no place for.
_NO_COUNTERPART = _words(
    r"""
    \binom \dbinom \tbinom \choose \atop \brace \brack \overline \underline \overbrace \underbrace \overset \underset
    \stackrel \hat \widehat \tilde \widetilde \bar \vec \dot \ddot \dddot \acute \grave \breve \check \mathring
    \overrightarrow \overleftarrow \xrightarrow \xleftarrow \not \cancel \boxed \phantom \hphantom \vphantom \substack
    \mathbb \mathcal \mathfrak \mathscr \Bbb \begin \end \matrix \pmatrix \cases \array \sideset \genfrac \above
    \newcommand \def \root
    """
)


def _shown(piece: str) -> str:
    """A piece for a message: quoted, and cut when it is long."""
    return quoted(piece, 40)


class LatexError(ValueError):
    r"""LaTeX that has no symbol graph.

    piece     the offending piece of the source, e.g. ``\hbar``
    position  where it starts: characters before it in the source (0 for the first)
    """

    def __init__(self, message: str, piece: str, position: int) -> None:
        super().__init__(f"{message} (at position {position})")
        self.piece = piece
        self.position = position


@dataclass
class _Atom:
    """Something on the row with its scripts."""

    text: str
    operator: str | None = None
    display: bool = False
    limits: bool | None = None
    subscript: str | None = None
    superscript: list[str] = field(default_factory=list)
    closed_superscript: bool = False

    def render(self) -> str:
        text = self.text
        if self.operator and (self.subscript is not None or self.superscript):
            above_below = (
                self.limits if self.limits is not None else (self.display and self.operator in _LIMITS_IN_DISPLAY)
            )
            if above_below:
                text += r"\limits "
        if self.subscript is not None:
            text += f"_{{{self.subscript}}}"
        if self.superscript:
            text += f"^{{{' '.join(self.superscript)}}}"
        return text


@dataclass
class _Command:
    """A macro or a script that still waits for arguments."""

    name: str
    piece: str
    position: int
    wanted: int
    arguments: list[str] = field(default_factory=list)
    index: str | None = None


class _Row:
    """Whether a base line has a symbol yet that a script could stand at."""

    __slots__ = ("has_symbol",)

    def __init__(self) -> None:
        self.has_symbol = False


@dataclass
class _Frame:
    """A group that is being read: the whole, a pair of braces, ``\\left ... \\right`` or the index of a root."""

    kind: str
    piece: str
    position: int
    display: bool
    row: _Row
    opening: str = ""
    numerator: str | None = None
    over_position: int = 0
    atoms: list[_Atom] = field(default_factory=list)
    waiting: list[_Command] = field(default_factory=list)

    def row_text(self) -> str:
        return " ".join(atom.render() for atom in self.atoms)


def plain_latex(source: str, display: bool | None = None) -> str:
    """Rewrite LaTeX in plain form.

    display  whether ``\\sum`` and ``\\lim`` take their scripts below and above (as TeX's display style does) or to the
             right; None: to the right between ``$ $`` and ``\\( \\)``, below and above otherwise
    Raises LatexError.
    """
    tokens, display = _tokens(source, display)
    plain = _Reader(tokens, display).read()
    if _is_blank(plain):
        raise LatexError("the expression has no symbols", source, 0)
    return plain


def _tokens(source: str, display: bool | None) -> tuple[list[tuple[str, int]], bool]:
    tokens = [(m.group(), m.start()) for m in _TOKEN.finditer(source) if not m.group().isspace()]
    first = [piece for piece, _ in tokens[:2]]
    inline = first[:1] in (["$"], [r"\("]) and first != ["$", "$"]
    # TeX never prints a math shift: it is dropped wherever it stands (CROHME has lines where one is missing or extra).
    tokens = [token for token in tokens if token[0] not in ("$", r"\(", r"\)", r"\[", r"\]")]
    if not tokens:
        raise LatexError("the expression is empty", source, 0)
    return tokens, (not inline if display is None else display)


class _Reader:
    def __init__(self, tokens: list[tuple[str, int]], display: bool) -> None:
        self.tokens = tokens
        self.at = 0
        self.symbols = 0
        self.frames = [_Frame("top", "", 0, display, _Row())]

    @property
    def frame(self) -> _Frame:
        return self.frames[-1]

    def next_token(self) -> tuple[str, int] | None:
        if self.at == len(self.tokens):
            return None
        self.at += 1
        return self.tokens[self.at - 1]

    def peek(self) -> str | None:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else None

    def read(self) -> str:
        while (token := self.next_token()) is not None:
            self.take(*token)
        if len(self.frames) > 1:
            frame = self.frame
            raise LatexError(f"{quoted(frame.piece)} is not closed", frame.piece, frame.position)
        return self.close_row(self.frame)

    def take(self, piece: str, position: int) -> None:
        if piece in _IGNORED:
            return
        if piece == "{":
            self.open("brace", piece, position)
        elif piece == "}":
            self.close("brace", piece, position)
        elif piece in ("^", "_"):
            self.script(piece, position)
        elif piece in _PRIMES:
            for _ in range(_PRIMES[piece]):
                self.prime(piece, position)
        elif piece == "]" and self.frame.kind == "index":
            self.close("index", piece, position)
        elif piece == r"\left":
            self.left(piece, position)
        elif piece == r"\right":
            self.close("left", piece, position)
        elif piece == r"\middle":
            self.several([label for label in [self.delimiter(piece, position)] if label])
        elif piece in _FRACTIONS:
            self.wait(_Command(piece, piece, position, 2))
        elif piece == r"\sqrt":
            self.wait(_Command(piece, piece, position, 1))
            if self.peek() == "[":
                opening = self.next_token()
                assert opening is not None
                self.open("index", *opening)
        elif piece in _TRANSPARENT:
            self.wait(_Command(piece, piece, position, 1))
        elif piece in (r"\operatorname", r"\operatorname*"):
            self.operator_name(piece, position)
        elif piece in _LENGTH_ARGUMENT:
            self.raw_argument(piece, position)
        elif piece in _STYLES:
            self.frame.display = _STYLES[piece]
        elif piece in (r"\limits", r"\nolimits"):
            self.limits(piece, position)
        elif piece == r"\over":
            self.over(piece, position)
        else:
            self.other(piece, position)

    def other(self, piece: str, position: int) -> None:
        bare = piece.rstrip("*") if piece.startswith("\\") and len(piece) > 2 else piece
        if bare != piece:
            # A star belongs to the few macros handled above; elsewhere it is a character of its own.
            self.tokens[self.at : self.at] = [("*", position + len(bare))]
            self.take(bare, position)
            return
        label = label_of_name(piece) if piece.startswith("\\") or len(piece) == 1 else None
        if label == r"\sqrt":
            # A bare root sign (the character or \surd) roots what follows.
            self.wait(_Command(label, piece, position, 1))
        elif label is not None:
            self.symbol(label)
        elif piece in (r"\|", r"\Vert", r"\lVert", r"\rVert", r"\parallel"):
            self.several(["|", "|"])
        elif piece == r"\begin" or piece == r"\end":
            name = self.raw_argument(piece, position)
            raise LatexError(f"environment {_shown(name)} is not supported", f"{piece}{{{name}}}", position)
        elif piece in _NO_COUNTERPART:
            raise LatexError(f"{piece} is not supported: a symbol graph has nothing for it", piece, position)
        elif piece == "\\\\" or piece == "&":
            raise LatexError(f"{quoted(piece)}: only single lines are supported, no tables", piece, position)
        elif piece == "\\":
            raise LatexError("a backslash at the end", piece, position)
        elif piece.startswith("\\") and convert_symbol(piece) is None:
            raise LatexError(f"unknown macro {_shown(piece)}", piece, position)
        else:
            labels = [] if piece.startswith("\\") else self.several_of_character(piece)
            if labels is None:
                return
            if not labels:
                count = len(vocabulary.SYMBOL_LABELS)
                raise LatexError(f"symbol {_shown(piece)} is not one of the {count} known symbols", piece, position)
            self.several(labels)

    @staticmethod
    def several_of_character(character: str) -> list[str] | None:
        """Labels of a character that stands for several symbols; [] when unknown, None when invisible."""
        try:
            return labels_of_text(character) or None
        except ValueError:
            return []

    # Items: a symbol, a group or a finished macro goes to whatever waits for an argument, else onto the row.

    def count_symbol(self) -> None:
        self.symbols += 1
        if self.symbols > MAX_SYMBOLS:
            piece, position = self.tokens[self.at - 1]
            raise LatexError(f"more than {MAX_SYMBOLS} symbols, from {_shown(piece)} on", piece, position)

    def symbol(self, label: str) -> None:
        self.count_symbol()
        frame = self.frame
        if frame.waiting:
            self.deliver(label, group=False)
        else:
            frame.row.has_symbol = True
            operator = label if label in _TAKES_LIMITS else None
            frame.atoms.append(_Atom(label, operator, frame.display))

    def several(self, labels: list[str]) -> None:
        self.deliver(" ".join(labels), group=len(labels) > 1)

    def deliver(self, text: str, *, group: bool) -> None:
        frame = self.frame
        while frame.waiting:
            command = frame.waiting[-1]
            command.arguments.append(text)
            if len(command.arguments) < command.wanted:
                return
            frame.waiting.pop()
            if command.name in ("^", "_"):
                self.attach(command, text)
                return
            text, group = self.render(command)
        if not _is_blank(text):
            frame.row.has_symbol = True
        frame.atoms.append(_Atom(f"{{{text}}}" if group else text))

    def render(self, command: _Command) -> tuple[str, bool]:
        if command.name in _FRACTIONS:
            for part, text in zip(("numerator", "denominator"), command.arguments, strict=True):
                if _is_blank(text):
                    raise LatexError(f"{part} of {command.piece} is empty", command.piece, command.position)
            return r"\frac{{{}}}{{{}}}".format(*command.arguments), False
        if command.name == r"\sqrt":
            if _is_blank(command.arguments[0]):
                raise LatexError(f"radicand of {command.piece} is empty", command.piece, command.position)
            index = "" if command.index is None or _is_blank(command.index) else f"[{{{command.index}}}]"
            return rf"\sqrt{index}{{{command.arguments[0]}}}", False
        return command.arguments[0], True

    # Groups

    def wait(self, command: _Command) -> None:
        if command.name in (r"\frac", r"\sqrt"):
            self.count_symbol()  # its bar, or its root sign
        self.frame.waiting.append(command)
        self.check_nesting(command.piece, command.position)

    def check_nesting(self, piece: str, position: int) -> None:
        # Macros stacked without braces (x^\\sqrt\\frac..) nest as braces do.
        if sum(max(1, len(frame.waiting)) for frame in self.frames) > MAX_NESTING:
            raise LatexError(f"nested deeper than {MAX_NESTING}", piece, position)

    def open(self, kind: str, piece: str, position: int, opening: str = "") -> None:
        frame = self.frame
        is_argument = kind == "index" or any(c.name not in _TRANSPARENT for c in frame.waiting)
        row = _Row() if is_argument else frame.row
        self.frames.append(_Frame(kind, piece, position, frame.display, row, opening))
        self.check_nesting(piece, position)
        if opening:
            row.has_symbol = True

    def close(self, kind: str, piece: str, position: int) -> None:
        frame = self.frame
        if frame.kind != kind:
            if frame.kind == "top":
                raise LatexError(f"{quoted(piece)} closes nothing", piece, position)
            raise LatexError(f"{quoted(frame.piece)} is not closed before {quoted(piece)}", frame.piece, frame.position)
        closing = self.delimiter(piece, position) if kind == "left" else ""
        text = self.close_row(frame)
        self.frames.pop()
        text = " ".join(part for part in (frame.opening, text, closing) if part)
        if kind == "index":
            self.frame.waiting[-1].index = text
        else:
            if closing:
                frame.row.has_symbol = True
            self.deliver(text, group=True)

    def close_row(self, frame: _Frame) -> str:
        if frame.waiting:
            command = frame.waiting[-1]
            what = _SCRIPT_NAMES.get(command.name)
            message = f"{what} is missing" if what else f"{command.piece} lacks an argument"
            raise LatexError(message, command.piece, command.position)
        text = frame.row_text()
        if frame.numerator is not None:
            if _is_blank(text):
                raise LatexError(r"denominator of \over is empty", r"\over", frame.over_position)
            text = rf"\frac{{{frame.numerator}}}{{{text}}}"
        return text

    def left(self, piece: str, position: int) -> None:
        self.open("left", piece, position, self.delimiter(piece, position))

    def delimiter(self, piece: str, position: int) -> str:
        """The delimiter after ``\\left``, ``\\right`` or ``\\middle``; empty for the invisible one, ``.``."""
        token = self.next_token()
        if token is None:
            raise LatexError(f"{piece} lacks a delimiter", piece, position)
        if token[0] == ".":
            return ""
        label = label_of_name(token[0])
        if label not in _DELIMITERS or token[0] in "{}":
            raise LatexError(f"{_shown(token[0])} after {piece} is not a known delimiter", token[0], token[1])
        assert label is not None
        return label

    # Scripts

    def script(self, piece: str, position: int) -> None:
        frame = self.frame
        if frame.waiting:
            waiting = frame.waiting[-1]
            raise LatexError(f"{waiting.piece} is followed by {quoted(piece)} in place of an argument", piece, position)
        if not frame.atoms:
            frame.atoms.append(_Atom("{}"))
        atom = frame.atoms[-1]
        if (atom.subscript is not None) if piece == "_" else atom.closed_superscript:
            raise LatexError(f"second {_SCRIPT_NAMES[piece]} on one symbol", piece, position)
        if piece == "^":
            atom.closed_superscript = True
        self.wait(_Command(piece, piece, position, 1))

    def attach(self, command: _Command, text: str) -> None:
        frame = self.frame
        atom = frame.atoms[-1]
        if not _is_blank(text) and not frame.row.has_symbol:
            what = _SCRIPT_NAMES[command.name]
            raise LatexError(f"{what} has no symbol to stand at", command.piece, command.position)
        if command.name == "_":
            atom.subscript = text
        else:
            atom.superscript.append(text)

    def prime(self, piece: str, position: int) -> None:
        frame = self.frame
        if frame.waiting or not frame.atoms or not frame.row.has_symbol:
            # Alone in a group (m^{'}) it is the symbol itself.
            self.symbol(r"\prime")
            return
        atom = frame.atoms[-1]
        if atom.text == r"\prime" and not atom.superscript:
            self.symbol(r"\prime")
            return
        if atom.closed_superscript:
            raise LatexError("second superscript on one symbol", piece, position)
        atom.superscript.append(r"\prime")

    def limits(self, piece: str, position: int) -> None:
        atom = self.frame.atoms[-1] if self.frame.atoms and not self.frame.waiting else None
        if atom is None or atom.operator is None:
            raise LatexError(f"{piece} does not follow \\sum, \\int or \\lim", piece, position)
        atom.limits = piece == r"\limits"

    def over(self, piece: str, position: int) -> None:
        frame = self.frame
        if frame.numerator is not None:
            raise LatexError(r"second \over in one group", piece, position)
        numerator = self.close_row(frame)
        if _is_blank(numerator):
            raise LatexError(r"numerator of \over is empty", piece, position)
        frame.numerator, frame.atoms, frame.over_position = numerator, [], position
        frame.row.has_symbol = False

    # Macros whose argument is not mathematics

    def raw_argument(self, piece: str, position: int) -> str:
        if self.peek() != "{":
            raise LatexError(f"{piece} lacks an argument in braces", piece, position)
        self.next_token()
        text: list[str] = []
        while (token := self.next_token()) is not None:
            if token[0] == "}":
                return "".join(text)
            text.append(token[0])
        raise LatexError(f"argument of {piece} is not closed", piece, position)

    def operator_name(self, piece: str, position: int) -> None:
        start = self.at
        name = self.raw_argument(piece, position)
        if name in _FUNCTIONS:
            self.symbol("\\" + name)
        else:
            self.at = start
            self.wait(_Command(r"\mathrm", piece, position, 1))


def _is_blank(text: str) -> bool:
    return not text.replace("{}", "").strip(" {}")
