r"""LaTeX as people write it -> baselines of symbols, or an error that names the piece and its position.

The reader takes one piece after the other and keeps its own stack of frames (groups that are open), so nesting costs
no recursion. A symbol on a row goes onto the frame's row; scripts wait until the next symbol (``\limits`` may still
come, and primes) and are hung on the last symbol of the row then. A pair of braces, a font or ``\left ... \right`` that
is no argument writes onto the row around it, as TeX sets it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hmeg.quoting import quoted

from . import latex_macros as macros
from .baselines import Baseline, is_limit_operator
from .latex_builder import MAX_SYMBOLS, Builder, Command
from .latex_tokens import LatexError, Token, shown, tokens_of
from .symbol_names import INVISIBLE_CHARACTERS, SEVERAL, unknown
from .vocabulary import Vocabulary

# What is nested deeper is refused: writers recurse a few frames a level, and Python allows about a thousand.
MAX_NESTING = 100

__all__ = ["MAX_NESTING", "MAX_SYMBOLS", "read_latex"]

_SCRIPT_NAMES = {"^": "superscript", "_": "subscript"}
_SCRIPT_MACROS = {r"\sp": "^", r"\sb": "_"}
_SYMBOLS = Vocabulary.open()
_WAITS_FOR_TWO = macros.FRACTIONS | macros.BINOMIALS | {r"\overset", r"\underset", r"\stackrel"}
_WAITS_FOR_ONE = frozenset(
    [*macros.TRANSPARENT, *macros.FONTS, *macros.FRAMES, r"\mathop", *(s.name for s in _SYMBOLS if s.kind == "accent")]
    + [spelling for s in _SYMBOLS if s.kind == "accent" for spelling in s.spellings]
)
_ON_THE_ROW = macros.TRANSPARENT | frozenset(macros.FONTS)
_DELIMITER_KINDS = frozenset(["opening", "closing", "bar"])
_OTHER_DELIMITERS = frozenset(
    ["/", r"\setminus", r"\uparrow", r"\downarrow", r"\updownarrow", r"\Uparrow", r"\Downarrow"]
)
_ANGLES = {"<": r"\langle", ">": r"\rangle"}


_NO_TOKEN = Token("", 0)


@dataclass(slots=True)
class _Atom:
    """What was put on the row last, from ``start`` on, with its scripts.

    operator  "limits" for one that takes scripts below and above in display style, "scripts" for one that takes them
              to its right unless \\limits says otherwise, None for everything else
    """

    start: int
    operator: str | None = None
    display: bool = False
    limits: bool | None = None
    subscript: Baseline | None = None
    superscript: Baseline = field(default_factory=list)
    closed_superscript: bool = False
    subscript_token: Token = _NO_TOKEN
    superscript_token: Token = _NO_TOKEN


@dataclass(slots=True)
class _Frame:
    """A group that is being read.

    kind     top, brace, left, index (in brackets), env, stack (``\\substack``), formula
    nodes    the row; that of the frame around it where the group is no argument
    start    where the group's own part of the row begins
    barrier  symbols before this are out of reach for scripts
    """

    kind: str
    token: Token
    display: bool
    nodes: Baseline
    start: int = 0
    barrier: int = 0
    font: str = ""
    name: str = ""
    atom: _Atom | None = None
    atoms: int = 0
    infix: tuple[Token, Baseline] | None = None
    rows: list[list[Baseline]] = field(default_factory=lambda: [[]])
    waiting: list[Command] = field(default_factory=list)


def read_latex(source: str, display: bool | None = None, known: Vocabulary | None = None) -> Baseline:
    """The main baseline of a formula; arguments and errors as for :func:`hmeg.graph.latex.parse_latex`."""
    tokens, display = tokens_of(source, display)
    baseline = _Reader(tokens, display, known or _SYMBOLS).read()
    if not baseline:
        raise LatexError("the expression has no symbols", source, 0)
    return baseline


class _Reader(Builder):
    def __init__(self, tokens: list[Token], display: bool, known: Vocabulary) -> None:
        self.tokens, self.known = tokens, known
        self.at = 0
        super().__init__()
        self.frames = [_Frame("top", Token("", 0), display, [])]

    @property
    def frame(self) -> _Frame:
        return self.frames[-1]

    @property
    def last_token(self) -> Token:
        return self.tokens[self.at - 1]

    def next_token(self) -> Token | None:
        if self.at == len(self.tokens):
            return None
        self.at += 1
        return self.tokens[self.at - 1]

    def peek(self) -> str | None:
        return self.tokens[self.at].piece if self.at < len(self.tokens) else None

    def read(self) -> Baseline:
        while (token := self.next_token()) is not None:
            self.take(token)
        if len(self.frames) > 1:
            frame = self.frame
            raise LatexError(f"{quoted(frame.token.piece)} is not closed", *frame.token)
        return self.close_row(self.frame)

    def take(self, token: Token) -> None:
        piece = token.piece
        handler = _HANDLERS.get(piece)
        if handler is not None:
            handler(self, token)
            return
        name = self.known.spelled(piece)
        if name is not None:
            self.symbol(name, token)
        else:
            self.other(token)

    def other(self, token: Token) -> None:
        piece, position = token
        bare = piece.rstrip("*") if piece.startswith("\\") and len(piece) > 2 else piece
        if bare != piece:
            # A star belongs to the few macros handled above; elsewhere it is a character of its own.
            self.tokens[self.at : self.at] = [Token("*", position + len(bare))]
            self.take(Token(bare, position))
            return
        word = piece[1:]
        if piece in SEVERAL:
            self.several(list(SEVERAL[piece]), token)
        elif piece.startswith("\\") and (word in macros.OPERATOR_NAMES or word in macros.LIMIT_NAMES):
            self.operator(word, word in macros.LIMIT_NAMES, token)
        elif piece in macros.OTHER_WORDS:
            self.several(list(macros.OTHER_WORDS[piece]), token)
        elif piece in macros.NO_COUNTERPART:
            raise LatexError(f"{piece} is not supported: a symbol graph has nothing for it", *token)
        elif piece in macros.RULES:
            raise LatexError(f"{piece}: rules in arrays are not supported", *token)
        elif piece == "\\":
            raise LatexError("a backslash at the end", *token)
        elif piece in INVISIBLE_CHARACTERS:
            pass
        elif piece.startswith("\\"):
            raise LatexError(f"unknown macro {shown(piece)}", *token)
        else:
            raise LatexError(unknown(piece), *token)

    # Items: a symbol, a group or a finished macro goes to whatever waits for an argument, else onto the row.

    def symbol(self, label: str, token: Token) -> None:
        frame = self.frame
        font = frame.font
        for command in reversed(frame.waiting):
            if command.name in macros.FONTS:
                font = macros.FONTS[command.name]
                break
        if font and len(label) == 1:
            label = self.in_font(label, font, token)
        operator = None
        if is_limit_operator(label):
            operator = "limits"
        elif _SYMBOLS.kind_of(label) == "integral":
            operator = "scripts"
        self.deliver([self.node(label)], operator)

    def several(self, labels: list[str], token: Token, operator: str | None = None) -> None:
        self.deliver([self.node(label) for label in labels], operator)

    def operator(self, name: str, takes_limits: bool, token: Token) -> None:
        """An operator's name, in letters but for those that are one symbol."""
        if name in macros.ONE_SYMBOL_NAMES:
            self.symbol("\\" + name, token)
            return
        labels: list[str] = []
        for part in macros.LIMIT_NAMES.get(name, name).split():
            labels += ["\\" + part] if part in macros.ONE_SYMBOL_NAMES else list(part)
        self.several(labels, token, "limits" if takes_limits else "scripts")

    def deliver(self, nodes: Baseline, operator: str | None = None, placed_from: int | None = None) -> None:
        """Hands an item to what waits for it.

        placed_from  where the item begins on the row, if it stands there already
        """
        frame = self.frame
        while frame.waiting:
            command = frame.waiting[-1]
            if command.name not in _ON_THE_ROW:
                command.arguments.append(nodes)
                command.operators.append(operator)
                if len(command.arguments) < command.wanted:
                    return
                frame.waiting.pop()
                if command.name in _SCRIPT_NAMES:
                    self.attach(command, nodes)
                    return
                nodes, operator = self.built(command)
            else:
                frame.waiting.pop()
        if placed_from is None:
            self.settle(frame)
            placed_from = len(frame.nodes)
            frame.nodes.extend(nodes)
        frame.atom = _Atom(placed_from, operator, frame.display)
        frame.atoms += 1

    # Groups

    def wait(self, name: str, token: Token, wanted: int) -> None:
        self.frame.waiting.append(Command(name, token, wanted))
        self.check_nesting(token)

    def check_nesting(self, token: Token) -> None:
        # Macros stacked without braces (x^\\sqrt\\frac..) nest as braces do.
        if len(self.frames) + len(self.frame.waiting) > MAX_NESTING // 2 and (
            sum(max(1, len(frame.waiting)) for frame in self.frames) > MAX_NESTING
        ):
            raise LatexError(f"nested deeper than {MAX_NESTING}", *token)

    def open(self, kind: str, token: Token, name: str = "") -> _Frame:
        frame = self.frame
        font = frame.font
        for command in frame.waiting:
            if command.name in macros.FONTS:
                font = macros.FONTS[command.name]
            elif command.name in macros.TRANSPARENT:
                font = ""
        own_row = kind in ("index", "env", "stack") or any(c.name not in _ON_THE_ROW for c in frame.waiting)
        if own_row:
            opened = _Frame(kind, token, frame.display, [], font=font, name=name)
        else:
            self.settle(frame)
            start = len(frame.nodes)
            opened = _Frame(kind, token, frame.display, frame.nodes, start, frame.barrier, font, name)
        self.frames.append(opened)
        self.check_nesting(token)
        return opened

    def close(self, kind: str, token: Token) -> None:
        frame = self.frame
        if frame.kind != kind:
            if frame.kind == "top":
                raise LatexError(f"{quoted(token.piece)} closes nothing", *token)
            raise LatexError(f"{quoted(frame.token.piece)} is not closed before {quoted(token.piece)}", *frame.token)
        closing = self.delimiter(token) if kind == "left" else []
        operator = frame.atom.operator if frame.atom is not None and frame.atoms == 1 else None
        if frame.atom is not None and (frame.atom.subscript is not None or frame.atom.superscript):
            operator = None
        nodes = self.close_row(frame)
        if kind == "stack":
            frame.rows[-1].append(nodes)
            nodes = self.array(frame.rows, frame.token)
        self.frames.pop()
        if closing:
            frame.nodes.extend(self.node(label) for label in closing)
            nodes = frame.nodes[frame.start :]
        if kind == "index":
            self.frame.waiting[-1].index = nodes
        elif frame.nodes is self.frame.nodes:
            # A group is an operator for what it is an argument of, not for scripts after it.
            self.deliver(nodes, None, placed_from=frame.start)
        else:
            self.deliver(nodes, operator if self.frame.waiting else None)

    def close_row(self, frame: _Frame) -> Baseline:
        """Ends a row: the symbols that stand on it."""
        if frame.waiting:
            command = frame.waiting[-1]
            what = _SCRIPT_NAMES.get(command.name)
            message = f"{what} is missing" if what else f"{command.token.piece} lacks an argument"
            raise LatexError(message, *command.token)
        self.settle(frame)
        nodes = frame.nodes[frame.start :]
        if frame.infix is not None:
            token, above = frame.infix
            if not nodes:
                raise LatexError(f"denominator of {token.piece} is empty", *token)
            left, right, bar = macros.INFIX[token.piece]
            made = [self.fraction(above, nodes)] if bar else self.stack([above, nodes], token)
            nodes = [*([self.node(left)] if left else []), *made, *([self.node(right)] if right else [])]
            frame.nodes[frame.start :] = nodes
            frame.infix = None
        return nodes

    def bracket(self, token: Token) -> None:
        if self.frame.kind == "index":
            self.close("index", token)
        else:
            self.symbol("]", token)

    def brace(self, token: Token) -> None:
        self.open("brace", token)

    def unbrace(self, token: Token) -> None:
        self.close("stack" if self.frame.kind == "stack" else "brace", token)

    def left(self, token: Token) -> None:
        labels = self.delimiter(token)
        frame = self.open("left", token)
        frame.nodes.extend(self.node(label) for label in labels)

    def right(self, token: Token) -> None:
        self.close("left", token)

    def middle(self, token: Token) -> None:
        labels = self.delimiter(token)
        self.several(labels, token)

    def delimiter(self, token: Token) -> list[str]:
        """The delimiter after ``\\left``, ``\\right`` or ``\\middle``; none for the invisible one, ``.``."""
        found = self.next_token()
        if found is None:
            raise LatexError(f"{token.piece} lacks a delimiter", *token)
        if found.piece == ".":
            return []
        if found.piece in SEVERAL and set(SEVERAL[found.piece]) == {"|"}:
            return list(SEVERAL[found.piece])
        label = _ANGLES.get(found.piece) or (None if found.piece in "{}" else _SYMBOLS.spelled(found.piece))
        if label is None or not (_SYMBOLS.kind_of(label) in _DELIMITER_KINDS or label in _OTHER_DELIMITERS):
            raise LatexError(f"{shown(found.piece)} after {token.piece} is not a known delimiter", *found)
        return [label]

    def size(self, token: Token) -> None:
        if self.peek() == ".":
            self.next_token()

    # Scripts

    def script(self, token: Token) -> None:
        frame = self.frame
        mark = _SCRIPT_MACROS.get(token.piece, token.piece)
        if frame.waiting:
            waiting = frame.waiting[-1]
            raise LatexError(
                f"{waiting.token.piece} is followed by {quoted(token.piece)} in place of an argument", *token
            )
        if frame.atom is None:
            frame.atom = _Atom(len(frame.nodes))
        atom = frame.atom
        if (atom.subscript is not None) if mark == "_" else atom.closed_superscript:
            raise LatexError(f"second {_SCRIPT_NAMES[mark]} on one symbol", *token)
        if mark == "^":
            atom.closed_superscript = True
        self.wait(mark, token, 1)

    def attach(self, command: Command, nodes: Baseline) -> None:
        frame = self.frame
        atom = frame.atom
        assert atom is not None
        if nodes and len(frame.nodes) <= frame.barrier:
            if self.is_script_of_a_script(command.name):
                frame.atom = None
                self.deliver(nodes)
                return
            what = _SCRIPT_NAMES[command.name]
            raise LatexError(
                f"{what} has no symbol to stand at: a symbol graph hangs it on one before it", *command.token
            )
        if command.name == "_":
            atom.subscript, atom.subscript_token = nodes, command.token
        else:
            if not atom.superscript:
                atom.superscript_token = command.token
            atom.superscript.extend(nodes)

    def is_script_of_a_script(self, mark: str) -> bool:
        """Whether a script with nothing before it stands in a script of its own kind: x_{_N} looks like x_N."""
        if len(self.frames) < 2 or self.frame.kind != "brace" or not self.frames[-2].waiting:
            return False
        return self.frames[-2].waiting[-1].name == mark

    def raised(self, label: str, token: Token) -> None:
        """A prime, a degree sign or a small raised figure: part of the superscript of what stands before it."""
        frame = self.frame
        atom = frame.atom
        if frame.waiting or atom is None or len(frame.nodes) <= frame.barrier:
            # Alone in a group (m^{'}) it is the symbol itself.
            self.symbol(label, token)
            return
        follows = frame.nodes[-1].label if len(frame.nodes) == atom.start + 1 else ""
        if follows == label == r"\prime" and not atom.superscript:
            self.symbol(label, token)
            return
        if atom.closed_superscript:
            raise LatexError("second superscript on one symbol", *token)
        if not atom.superscript:
            atom.superscript_token = token
        atom.superscript.append(self.node(label))

    def prime(self, token: Token) -> None:
        for _ in range(macros.PRIMES[token.piece]):
            self.raised(r"\prime", token)

    def raised_character(self, token: Token) -> None:
        self.raised(macros.RAISED[token.piece], token)

    def lowered_character(self, token: Token) -> None:
        frame = self.frame
        if frame.waiting or len(frame.nodes) <= frame.barrier:
            raise LatexError(f"{shown(token.piece)} has no symbol to stand at", *token)
        if frame.atom is None:
            frame.atom = _Atom(len(frame.nodes))
        frame.atom.subscript_token = token
        frame.atom.subscript = [*(frame.atom.subscript or []), self.node(macros.LOWERED[token.piece])]

    def limits(self, token: Token) -> None:
        atom = self.frame.atom if not self.frame.waiting else None
        if atom is None or atom.operator is None:
            raise LatexError(f"{token.piece} does not follow an operator such as \\sum, \\int or \\lim", *token)
        atom.limits = token.piece == r"\limits"

    def settle(self, frame: _Frame) -> None:
        """Hangs the scripts of the last atom on their symbol, now that nothing can be added to them."""
        atom, frame.atom = frame.atom, None
        if atom is None or not (atom.subscript or atom.superscript):
            return
        beside = atom.operator is None or not (atom.operator == "limits" and atom.display)
        if atom.limits is not None:
            beside = not atom.limits
        target = frame.nodes[-1]
        if not beside and atom.start < len(frame.nodes):
            target = frame.nodes[atom.start + self.center(frame.nodes[atom.start :])]
        if target.label == "&":
            token = atom.subscript_token if atom.subscript else atom.superscript_token
            raise LatexError("a script on an array without a bracket to its right has no symbol to stand at", *token)
        for relation, limit, nodes, token in (
            ("Sub", "Below", atom.subscript, atom.subscript_token),
            ("Sup", "Above", atom.superscript, atom.superscript_token),
        ):
            if not nodes:
                continue
            name = relation if beside else limit
            if target.label in macros.BRACES:
                if macros.BRACES[target.label] != limit:
                    raise LatexError(f"{target.label} takes a script on its other side only", *token)
                name = limit
            self.hang(target, name, nodes, token)

    def infix(self, token: Token) -> None:
        frame = self.frame
        if frame.infix is not None:
            raise LatexError(f"second {token.piece} in one group", *token)
        above = self.close_row(frame)
        if not above:
            raise LatexError(f"numerator of {token.piece} is empty", *token)
        frame.infix = token, above
        del frame.nodes[frame.start :]
        frame.barrier = frame.start

    # Macros with arguments

    def waits_for_one(self, token: Token) -> None:
        self.wait(token.piece, token, 1)

    def waits_for_two(self, token: Token) -> None:
        self.wait(token.piece, token, 2)

    def waits_with_index(self, token: Token) -> None:
        name = r"\sqrt" if _SYMBOLS.spelled(token.piece) == r"\sqrt" else token.piece
        self.wait(name, token, 1)
        if self.peek() == "[" and token.piece in (r"\sqrt", *macros.STRETCHED):
            opening = self.next_token()
            assert opening is not None
            self.open("index", opening)

    def style(self, token: Token) -> None:
        self.frame.display = macros.STYLES[token.piece]

    def raw_argument(self, token: Token) -> str:
        if self.peek() == "*" and token.piece in macros.WITHOUT_INK:
            self.next_token()
        if self.peek() != "{":
            raise LatexError(f"{token.piece} lacks an argument in braces", *token)
        self.next_token()
        text: list[str] = []
        depth = 1
        while (found := self.next_token()) is not None:
            depth += {"{": 1, "}": -1}.get(found.piece, 0)
            if not depth:
                return "".join(text)
            text.append(found.piece)
        raise LatexError(f"argument of {token.piece} is not closed", *token)

    def operator_name(self, token: Token) -> None:
        start = self.at
        name = self.raw_argument(token)
        if name in macros.ONE_SYMBOL_NAMES or name in macros.LIMIT_NAMES or name in macros.OPERATOR_NAMES:
            self.operator(name, token.piece.endswith("*") or name in macros.LIMIT_NAMES, token)
        else:
            self.at = start
            self.wait(token.piece, token, 1)

    def modulo(self, token: Token) -> None:
        """``\\pmod{n}``: (mod n)."""
        start = self.at
        self.raw_argument(token)
        inner = self.tokens[start + 1 : self.at - 1]
        word = [Token(piece, token.position) for piece in ("{", "(", r"\bmod")]
        self.tokens[self.at : self.at] = [*word, *inner, Token(")", token.position), Token("}", token.position)]

    def negation(self, token: Token) -> None:
        while self.peek() in macros.IGNORED:
            self.next_token()
        found = self.next_token()
        if found is not None and found.piece == "{" and self.tokens[self.at + 1 : self.at + 2]:
            found = self.next_token()
            if self.peek() == "}":
                self.next_token()
        label = None if found is None else _SYMBOLS.spelled(found.piece)
        name = macros.NEGATIONS.get(label or "")
        if name is None:
            what = "nothing" if found is None else shown(found.piece)
            raise LatexError(f"\\not before {what} is not one of the {len(_SYMBOLS)} known symbols", *token)
        self.symbol(name, token)

    # Arrays

    def begin(self, token: Token) -> None:
        name = self.raw_argument(token)
        whole = Token(f"{token.piece}{{{name}}}", token.position)
        if name in macros.FORMULAS:
            self.open("formula", whole, name).display = True
            return
        if name not in macros.ARRAYS:
            raise LatexError(f"environment {shown(name)} is not supported", *whole)
        if name == "array" and self.peek() == "[":
            self.skip_bracket(frozenset("tbc"))
        if name in macros.WITH_COLUMNS and "|" in self.raw_argument(token):
            raise LatexError(f"{whole.piece} has rules (|) between its columns, which are not supported", *whole)
        self.open("env", whole, name)

    def end(self, token: Token) -> None:
        name = self.raw_argument(token)
        frame = self.frame
        whole = Token(f"{token.piece}{{{name}}}", token.position)
        if frame.kind not in ("env", "formula") or frame.name != name:
            if frame.kind == "top":
                raise LatexError(f"{quoted(whole.piece)} closes nothing", *whole)
            raise LatexError(f"{quoted(frame.token.piece)} is not closed before {quoted(whole.piece)}", *frame.token)
        if frame.kind == "formula":
            self.close("formula", token)
            return
        nodes = self.close_row(frame)
        frame.rows[-1].append(list(nodes))
        nodes = self.array(frame.rows, frame.token)
        left, right = macros.ARRAYS[name]
        self.frames.pop()
        opening, closing = ([self.node(label) for label in side.split()] for side in (left, right))
        self.deliver([*opening, *nodes, *closing])

    def next_cell(self, token: Token) -> None:
        frame = self.frame
        if frame.kind not in ("env", "stack"):
            if frame.kind == "top":
                raise LatexError(f"{quoted(token.piece)} stands outside an array", *token)
            raise LatexError(f"{quoted(frame.token.piece)} is not closed before {quoted(token.piece)}", *frame.token)
        frame.rows[-1].append(list(self.close_row(frame)))
        del frame.nodes[:]
        frame.barrier = frame.start = 0
        frame.atoms = 0

    def next_row(self, token: Token) -> None:
        self.next_cell(token)
        self.frame.rows.append([])
        if self.peek() == "*":
            self.next_token()
        if self.peek() == "[":
            self.skip_bracket()

    def skip_bracket(self, words: frozenset[str] = frozenset()) -> None:
        """Passes over the length in ``\\\\[2pt]``, or one of ``words``; what is neither belongs to the row."""
        for end in range(self.at + 1, min(self.at + 12, len(self.tokens))):
            if self.tokens[end].piece == "]":
                text = "".join(token.piece for token in self.tokens[self.at + 1 : end])
                if text[-2:] in ("pt", "em", "ex", "mm", "cm", "in") or text in words:
                    self.at = end + 1
                return

    def substack(self, token: Token) -> None:
        found = self.next_token()
        if found is None or found.piece != "{":
            raise LatexError(f"{token.piece} lacks an argument in braces", *token)
        self.open("stack", token)

    def pass_over(self, token: Token) -> None:
        """What leaves nothing on paper."""

    def without_ink(self, token: Token) -> None:
        self.raw_argument(token)


# Looked up before symbols: marks, such as \hat, are symbols only with what they stand at.
_HANDLERS: dict[str, Callable[[_Reader, Token], None]] = {
    **dict.fromkeys(macros.IGNORED, _Reader.pass_over),
    "]": _Reader.bracket,
    "{": _Reader.brace,
    "}": _Reader.unbrace,
    "^": _Reader.script,
    "_": _Reader.script,
    **dict.fromkeys(_SCRIPT_MACROS, _Reader.script),
    **dict.fromkeys(macros.PRIMES, _Reader.prime),
    **dict.fromkeys(macros.RAISED, _Reader.raised_character),
    **dict.fromkeys(macros.LOWERED, _Reader.lowered_character),
    r"\left": _Reader.left,
    r"\right": _Reader.right,
    r"\middle": _Reader.middle,
    **dict.fromkeys(macros.SIZES, _Reader.size),
    **dict.fromkeys(_WAITS_FOR_ONE, _Reader.waits_for_one),
    **dict.fromkeys(_WAITS_FOR_TWO, _Reader.waits_for_two),
    **dict.fromkeys([r"\sqrt", r"\surd", "\u221a", *macros.STRETCHED], _Reader.waits_with_index),
    r"\operatorname": _Reader.operator_name,
    r"\operatorname*": _Reader.operator_name,
    **dict.fromkeys(macros.WITHOUT_INK, _Reader.without_ink),
    **dict.fromkeys(macros.STYLES, _Reader.style),
    r"\limits": _Reader.limits,
    r"\nolimits": _Reader.limits,
    **dict.fromkeys(macros.INFIX, _Reader.infix),
    r"\not": _Reader.negation,
    r"\pmod": _Reader.modulo,
    r"\begin": _Reader.begin,
    r"\end": _Reader.end,
    "&": _Reader.next_cell,
    "\\\\": _Reader.next_row,
    r"\cr": _Reader.next_row,
    r"\substack": _Reader.substack,
}
