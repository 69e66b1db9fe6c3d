r"""Pieces of LaTeX -> baselines of symbols: what each macro makes of its arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from . import latex_macros as macros
from .baselines import Baseline, SymbolNode, is_limit_operator
from .latex_tokens import LatexError, Token, shown
from .vocabulary import Vocabulary

MAX_SYMBOLS = 256  # a model's graph is complete: memory grows with the square (CROHME's longest has 53)

_SYMBOLS = Vocabulary.open()


@dataclass(slots=True)
class Command:
    """A macro or a script that still waits for arguments."""

    name: str
    token: Token
    wanted: int
    arguments: list[Baseline] = field(default_factory=list)
    operators: list[str | None] = field(default_factory=list)
    index: Baseline | None = None


class Builder(ABC):
    """Makes nodes, and counts them."""

    def __init__(self) -> None:
        self.symbols = 0

    @property
    @abstractmethod
    def last_token(self) -> Token:
        """The piece that was read last."""

    def node(self, label: str) -> SymbolNode:
        self.symbols += 1
        if self.symbols > MAX_SYMBOLS:
            piece, position = self.last_token
            raise LatexError(f"more than {MAX_SYMBOLS} symbols, from {shown(piece)} on", piece, position)
        return SymbolNode(label)

    def in_font(self, label: str, font: str, token: Token) -> str:
        name = _SYMBOLS.spelled(f"{font}{{{label}}}")
        if name is not None:
            return name
        if not label.isalpha() or (font == r"\mathcal" and label.islower()):
            return label
        raise LatexError(f"{shown(label)} in {font} is not one of the {len(_SYMBOLS)} known symbols", *token)

    def built(self, command: Command) -> tuple[Baseline, str | None]:
        """What a macro makes of its arguments, and which kind of operator that is."""
        name, first = command.name, command.arguments[0]
        if name in macros.FRACTIONS:
            for part, nodes in zip(("numerator", "denominator"), command.arguments, strict=True):
                if not nodes:
                    raise LatexError(f"{part} of {command.token.piece} is empty", *command.token)
            return [self.fraction(*command.arguments)], None
        if name in macros.BINOMIALS:
            return [self.node("("), *self.stack(command.arguments, command.token), self.node(")")], None
        if name == r"\sqrt":
            if not first:
                raise LatexError(f"radicand of {command.token.piece} is empty", *command.token)
            root = self.node(r"\sqrt")
            if command.index:
                root.around["Above"] = command.index
            root.around["Inside"] = first
            return [root], None
        if name in macros.FRAMES:
            frame = self.node(macros.FRAMES[name])
            if first:
                frame.around["Inside"] = first
            return [frame], None
        if name in (r"\overset", r"\stackrel"):
            return self.set_at("Above", first, command.arguments[1], command.operators[1], command.token)
        if name == r"\underset":
            return self.set_at("Below", first, command.arguments[1], command.operators[1], command.token)
        if name in macros.STRETCHED:
            arrow = self.node(macros.STRETCHED[name])
            if command.index:
                arrow.around["Below"] = command.index
            if first:
                arrow.around["Above"] = first
            return [arrow], None
        if name in (r"\mathop", r"\operatorname*"):
            # A symbol that is an operator by itself stays one.
            operator = command.operators[0]
            return first, operator or ("limits" if first else None)
        if name == r"\operatorname":
            return first, command.operators[0] or ("scripts" if first else None)
        mark = _SYMBOLS.spelled(name)
        assert mark is not None, name
        return [self.mark(mark, first, command.token)], None

    def mark(self, mark: str, content: Baseline, token: Token) -> SymbolNode:
        if not content:
            raise LatexError(f"nothing stands at {token.piece}", *token)
        node = self.node(mark)
        node.around["Above" if mark in macros.UNDER_MARKS else "Below"] = content
        return node

    def set_at(
        self, relation: str, script: Baseline, base: Baseline, operator: str | None, token: Token
    ) -> tuple[Baseline, str | None]:
        """``script`` over or under ``base``."""
        if not script:
            return base, operator
        if not base:
            raise LatexError(f"{token.piece} has no symbol to stand at", *token)
        if len(base) > 1 and operator is None:
            marks = macros.OVER_SEVERAL if relation == "Above" else macros.UNDER_SEVERAL
            mark = marks.get(script[0].label) if len(script) == 1 and not script[0].around else None
            if mark is None:
                raise LatexError(f"{token.piece} over several symbols: it can stand at one only", *token)
            self.symbols -= 1  # the mark, counted when it was read
            return [self.mark(mark, base, token)], None
        self.hang(base[self.center(base)] if len(base) > 1 else base[0], relation, script, token)
        return base, operator

    @staticmethod
    def center(name: Baseline) -> int:
        """Which symbol of an operator's name limits stand at: its own ``lim``, or the one in the middle."""
        for at, node in enumerate(name):
            if is_limit_operator(node.label):
                return at
        return (len(name) - 1) // 2

    def fraction(self, numerator: Baseline, denominator: Baseline) -> SymbolNode:
        bar = self.node("-")
        bar.around["Above"], bar.around["Below"] = numerator, denominator
        return bar

    def stack(self, entries: list[Baseline], token: Token) -> Baseline:
        return self.array([[entry] for entry in entries], token)

    def array(self, rows: list[list[Baseline]], token: Token) -> Baseline:
        """The first row of cells of an array; the other rows hang under its first cell."""
        while len(rows) > 1 and not any(rows[-1]):
            rows.pop()
        if not any(cell for row in rows for cell in row):
            raise LatexError("the array has no symbols", *token)
        if len(rows) == 1:
            return [node for cell in rows[0] for node in cell]
        made: Baseline = []
        for row in reversed(rows):
            while len(row) > 1 and not row[-1]:
                row.pop()
            cells: Baseline = []
            for content in row:
                cell = self.node("&")
                if content:
                    cell.around["Inside"] = content
                cells.append(cell)
            if made:
                cells[0].around["Below"] = made
            made = cells
        return made

    def hang(self, target: SymbolNode, relation: str, nodes: Baseline, token: Token) -> None:
        """Hangs a row on a symbol, beside what hangs there already."""
        around = target.around
        if relation in ("Sub", "Sup") and relation in around:
            around[relation] = [*around[relation], *nodes]  # {y^a}^b looks like y^{ab}
            return
        what = f"{token.piece}: symbol {target.label}"
        if relation in around or target.label == "&" or (relation == "Above" and target.label == r"\sqrt"):
            raise LatexError(f"{what} has something {relation} of it already", *token)
        limits, beside = {"Below", "Above"}, {"Sub", "Sup"}
        other = beside if relation in limits else limits
        if (is_limit_operator(target.label) or _SYMBOLS.kind_of(target.label) == "integral") and other & around.keys():
            raise LatexError(f"{what} has scripts to its right and below or above: only one kind can be told", *token)
        around[relation] = nodes
