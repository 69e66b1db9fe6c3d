"""Random expressions with all symbols of a vocabulary.

An expression of CROHME's grammar, in which symbols are exchanged for others of their kind, letters get marks, and parts
become binomials, matrices, cases and frames. What is left of CROHME's statistics is the shape of expressions; which
symbol stands where is chosen evenly, so that all of them turn up.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from hmeg.streams import KEY_LIMIT, Purpose, stream

from .baselines import Baseline, SymbolNode, baseline_from, to_latex
from .grammar import DEFAULT_MAX_SYMBOLS, Grammar
from .latex import parse_latex
from .latex_macros import BRACES, UNDER_MARKS
from .vocabulary import Vocabulary

# How often a symbol is exchanged for another of its kind, a letter gets a mark, a short run of symbols one over it all.
_EXCHANGED = 0.6
_MARKED = 0.06
_MARKED_TOGETHER = 0.03
# How often a sign stands somewhere on the main row: CROHME has next to none of them.
_WITH_A_SIGN = 0.25
# How often an expression is made part of a structure.
_STRUCTURES = (("cases", 0.03), ("matrix", 0.03), ("binomial", 0.02), ("frame", 0.03), ("arrow", 0.03), ("over", 0.02))
_MAX_ATTEMPTS = 1000
# Kinds whose symbols stand in each other's place; brackets are exchanged in pairs.
_EXCHANGEABLE = {
    "letter": ("letter",),
    "relation": ("relation", "arrow"),
    "arrow": ("arrow",),
    "operator": ("operator",),
    "large": ("large",),
    "integral": ("integral",),
    "sign": ("sign", "letter"),
    "punctuation": ("punctuation",),
}
_PAIRS = {
    r"\{": r"\}",
    r"\langle": r"\rangle",
    r"\lfloor": r"\rfloor",
    r"\lceil": r"\rceil",
    r"\llbracket": r"\rrbracket",
}
_PLAIN_PAIRS = {"(": ")", "[": "]"}


class OpenGrammar:
    """Draws expressions of the symbols of a vocabulary.

    known  the symbols; None: all of :meth:`Vocabulary.open`. Structures whose symbols are not among them do not occur.
    """

    def __init__(self, known: Vocabulary | None = None) -> None:
        self.known = known or Vocabulary.open()
        self._of_kind: dict[str, list[str]] = {}
        for symbol in self.known:
            self._of_kind.setdefault(symbol.kind, []).append(symbol.name)
        # Primes are scripts, and \lim is followed by its limit.
        self._of_kind["sign"] = [name for name in self._of_kind.get("sign", []) if name != r"\prime"]

        self._makers: dict[str, Callable[[Baseline, np.random.Generator], Baseline]] = {
            "cases": self._cases,
            "matrix": self._matrix,
            "binomial": self._binomial,
            "frame": self._frame,
            "arrow": self._arrow,
            "over": self._over,
        }

    @classmethod
    @functools.cache
    def open(cls) -> OpenGrammar:
        """The grammar of the open vocabulary."""
        return cls()

    def draw(self, seed: int, index: int, max_symbols: int = DEFAULT_MAX_SYMBOLS) -> str:
        """Expression ``index`` of ``seed`` as LaTeX tokens separated by spaces; at most ``max_symbols`` symbols.

        Longer drawings are thrown away and drawn anew. ``ValueError`` for ``max_symbols`` < 1, or when no expression
        that short turns up.
        """
        rng = stream(seed, index, Purpose.OPEN_EXPRESSION)
        for attempt in range(_MAX_ATTEMPTS):
            base = Grammar.crohme().draw(seed, (index + (attempt << 40)) % KEY_LIMIT, max_symbols)
            baseline = self._structured(
                self._with_a_sign(self._varied(baseline_from(parse_latex(base)), rng), rng), rng
            )
            text = to_latex(baseline)
            if _count(baseline) <= max_symbols and not self.known.unknown(parse_latex(text).symbols):
                return text
        raise ValueError(f"the grammar drew no expression of at most {max_symbols} symbols")

    def expressions(self, seed: int, max_symbols: int = DEFAULT_MAX_SYMBOLS) -> Iterator[str]:
        """Expressions 0, 1, 2, ... of ``seed``, without end."""
        return (self.draw(seed, index, max_symbols) for index in itertools.count())

    def _varied(self, baseline: Baseline, rng: np.random.Generator) -> Baseline:
        """The same arrangement with other symbols and with marks."""
        varied: Baseline = []
        closing: list[str | None] = []
        for node in baseline:
            label = node.label
            around = {name: self._varied(below, rng) for name, below in node.around.items()}
            if label in _PLAIN_PAIRS:
                pair = self._pair(rng)
                closing.append(None if pair is None else pair[1])
                label = label if pair is None else pair[0]
            elif label in _PLAIN_PAIRS.values():
                label = (closing.pop() if closing else None) or label
            elif not around.keys() & {"Above", "Below", "Inside"} or label in (r"\sum", r"\int"):
                label = self._exchanged(label, rng)
            made = SymbolNode(label, around)
            if self.known.kind_of(label) == "letter" and rng.random() < _MARKED:
                made = self._marked([SymbolNode(label)], around, rng)
            varied.append(made)
        if len(varied) > 1 and rng.random() < _MARKED_TOGETHER:
            start = int(rng.integers(len(varied) - 1))
            run = varied[start : start + int(rng.integers(2, 4))]
            if all(self.known.kind_of(node.label) in ("letter", "digit", "operator") for node in run):
                varied[start : start + len(run)] = [self._marked(run, {}, rng)]
        return varied

    def _with_a_sign(self, baseline: Baseline, rng: np.random.Generator) -> Baseline:
        signs = [*self._of_kind["sign"], *self._of_kind.get("punctuation", [])]
        if not signs or rng.random() >= _WITH_A_SIGN:
            return baseline
        at = int(rng.integers(len(baseline) + 1))
        return [*baseline[:at], SymbolNode(signs[int(rng.integers(len(signs)))]), *baseline[at:]]

    def _exchanged(self, label: str, rng: np.random.Generator) -> str:
        kind = self.known.kind_of(label)
        if kind not in _EXCHANGEABLE or label in (r"\prime", "-") or rng.random() >= _EXCHANGED:
            return label
        others = [name for other in _EXCHANGEABLE[kind] for name in self._of_kind.get(other, [])]
        return others[int(rng.integers(len(others)))]

    def _pair(self, rng: np.random.Generator) -> tuple[str, str] | None:
        pairs = [pair for pair in _PAIRS.items() if pair[0] in self.known and pair[1] in self.known]
        if not pairs or rng.random() >= 0.2:
            return None
        return pairs[int(rng.integers(len(pairs)))]

    def _marked(self, content: Baseline, around: dict[str, Baseline], rng: np.random.Generator) -> SymbolNode:
        marks = self._of_kind.get("accent", [])
        if not marks:
            return SymbolNode(content[0].label, around) if len(content) == 1 else content[0]
        mark = marks[int(rng.integers(len(marks)))]
        side = "Above" if mark in UNDER_MARKS else "Below"
        if mark in BRACES:
            # A brace has its script on its other side, and nothing else.
            script = {BRACES[mark]: [SymbolNode("n")]} if rng.random() < 0.5 else {}
            return SymbolNode(mark, {side: content, **script})
        return SymbolNode(mark, {side: content, **around})

    def _structured(self, baseline: Baseline, rng: np.random.Generator) -> Baseline:
        threshold = rng.random()
        for name, share in _STRUCTURES:
            threshold -= share
            if threshold < 0:
                return self._makers[name](baseline, rng)
        return baseline

    def _more(self, rng: np.random.Generator, most: int) -> Baseline:
        """Another short expression."""
        text = Grammar.crohme().draw(int(rng.integers(1 << 62)), 0, most)
        return self._varied(baseline_from(parse_latex(text)), rng)

    def _cases(self, baseline: Baseline, rng: np.random.Generator) -> Baseline:
        rows = [[baseline, *([self._more(rng, 6)] if rng.random() < 0.5 else [])]]
        rows += [[self._more(rng, 10) for _ in rows[0]] for _ in range(int(rng.integers(1, 3)))]
        return [SymbolNode(r"\{"), *_array(rows)]

    def _matrix(self, baseline: Baseline, rng: np.random.Generator) -> Baseline:
        height, width = (int(n) for n in rng.integers(2, 4, size=2))
        rows = [[self._more(rng, 3) for _ in range(width)] for _ in range(height)]
        left, right = (("(", ")"), ("[", "]"), ("|", "|"))[int(rng.integers(3))]
        return [*baseline[:3], SymbolNode("="), SymbolNode(left), *_array(rows), SymbolNode(right)]

    def _binomial(self, baseline: Baseline, rng: np.random.Generator) -> Baseline:
        return [SymbolNode("("), *_array([[self._more(rng, 3)], [self._more(rng, 3)]]), SymbolNode(")"), *baseline]

    def _frame(self, baseline: Baseline, rng: np.random.Generator) -> Baseline:
        frame = (r"\bigcirc", r"\square")[int(rng.integers(2))]
        content = self._more(rng, 2) if rng.random() < 0.7 else []
        return [SymbolNode(frame, {"Inside": content} if content else {}), *baseline]

    def _arrow(self, baseline: Baseline, rng: np.random.Generator) -> Baseline:
        arrows = self._of_kind.get("arrow", [r"\rightarrow"])
        around = {name: self._more(rng, 4) for name in ("Above", "Below") if rng.random() < 0.6}
        return [*baseline, SymbolNode(arrows[int(rng.integers(len(arrows)))], around), *self._more(rng, 8)]

    def _over(self, baseline: Baseline, rng: np.random.Generator) -> Baseline:
        return [*baseline, SymbolNode("=", {"Above": self._more(rng, 3)}), *self._more(rng, 8)]


def _array(rows: list[list[Baseline]]) -> Baseline:
    """Cells of rows under each other."""
    below: Baseline = []
    for row in reversed(rows):
        cells = [SymbolNode("&", {"Inside": content}) for content in row]
        if below:
            cells[0].around["Below"] = below
        below = cells
    return below


def _count(baseline: Baseline) -> int:
    return sum(1 + sum(_count(below) for below in node.around.values()) for node in baseline)
