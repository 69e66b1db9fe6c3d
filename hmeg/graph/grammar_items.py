"""The grammar's view of an expression: baselines of items, and the situations in which the next item is chosen.

Counting (grammar_statistics) and drawing (grammar) walk through the same situations; this file is what they share.

An item is a symbol or a whole bracketed group, with the baselines around it. A situation knows what has been written
so far on the baseline; each of its ``*_key`` methods gives what one decision is conditioned on, the least important
first, so that a key without its first entries is the next coarser condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .baselines import Baseline, SymbolNode

OPENING = {"(": ")", "[": "]", "\\{": "\\}", "|": "|"}
CLOSING = {")", "]", "\\}"}
_CLOSED_BY_SCRIPTS = {"digit", "zero", "one", "letter"}  # a number ends at its exponent
_AFTER_OPERAND = {"letter", "digit", "zero", "one", "constant", "group", "fraction", "root", "factorial", "prime"}

_CATEGORIES = {
    "digit": "0 1 2 3 4 5 6 7 8 9",
    "point": ".",
    "constant": "\\pi \\infty",
    "sign": "+ - \\pm",
    "product": "\\times \\div /",
    "relation": "= \\lt \\gt \\leq \\geq \\neq \\in \\rightarrow",
    "quantifier": "\\forall \\exists",
    "integral": "\\int",
    "bigoperator": "\\sum \\lim",
    "function": "\\sin \\cos \\tan \\log",
    "comma": ",",
    "dots": "\\ldots",
    "prime": "\\prime",
    "factorial": "!",
    "bar": "|",
    "root": "\\sqrt",
}
_CATEGORY_OF = {label: category for category, labels in _CATEGORIES.items() for label in labels.split()}

# Categories with a free choice of name: an expression tends to use the same names again.
NAMES = "letter"
DIFFERENTIAL = "differential"  # the d that ends an integral
# First digits that decide what follows: 0 is followed by a point at most, and 1 is no factor.
_FIRST_DIGITS = {"0": "zero", "1": "one"}
_INSIDE_A_NUMBER = {"digit", "point", "zero", "one"}
BEGIN = "^"


class IrregularExpression(ValueError):
    """An expression the grammar does not describe: unmatched brackets or an arrangement LaTeX cannot write."""


@dataclass
class Item:
    """One entry of a baseline. ``label`` of a group is its pair of brackets, e.g. ``"( )"``."""

    category: str
    label: str
    around: dict[str, list[Item]] = field(default_factory=dict)
    content: list[Item] | None = None


def items_of(baseline: Baseline) -> list[Item]:
    """Items of a baseline, bracket pairs made groups; ``IrregularExpression`` when brackets do not match."""
    finished: list[Item] = []
    enclosing: list[tuple[SymbolNode, list[Item]]] = []  # opening bracket, items before it
    for position, node in enumerate(baseline):
        if node.label == "|":
            closes = bool(enclosing) and enclosing[-1][0].label == "|" and bool(finished)
            opens = not closes and _another_bar_follows(baseline, position) and _may_open(finished)
        else:
            closes, opens = node.label in CLOSING, node.label in OPENING
        if opens:
            if node.around:
                raise IrregularExpression(f"something hangs on the opening bracket {node.label}")
            enclosing.append((node, finished))
            finished = []
        elif closes:
            if not enclosing or (enclosing[-1][0].label == "|") != (node.label == "|"):
                raise IrregularExpression(f"nothing opens the bracket that {node.label} closes")
            opening, before = enclosing.pop()
            if not finished:
                raise IrregularExpression(f"nothing stands between {opening.label} and {node.label}")
            group = Item("group", f"{opening.label} {node.label}", _around(node, "group"), finished)
            finished = [*before, group]
        else:
            category = _category(node, finished)
            finished.append(Item(category, node.label, _around(node, category)))
    if enclosing:
        raise IrregularExpression(f"nothing closes the bracket {enclosing[-1][0].label}")
    return finished


def baseline_of(items: list[Item]) -> Baseline:
    """The symbols that ``items`` stand for."""
    baseline: Baseline = []
    for item in items:
        around = {name: baseline_of(below) for name, below in item.around.items()}
        if item.content is None:
            baseline.append(SymbolNode(item.label, around))
        else:
            opening, closing = item.label.split()
            baseline += [SymbolNode(opening), *baseline_of(item.content), SymbolNode(closing, around)]
    return baseline


def recurrence(label: str, names: Sequence[str]) -> str:
    """How a name relates to those already in the expression (``names``, the most recent last)."""
    if label not in names:
        return "new"
    return "last" if label == names[-1] else "again"


def use_name(label: str, names: list[str]) -> None:
    """Makes ``label`` the most recent of ``names``."""
    if label in names:
        names.remove(label)
    names.append(label)


def context_of(relation: str, parent: Item) -> str:
    """Name of the kind of baseline that stands ``relation`` of ``parent``."""
    if parent.category in ("integral", "bigoperator", "fraction", "root"):
        return f"{relation} {parent.label}"
    return relation


@dataclass(frozen=True)
class Situation:
    """What is known when the next item of a baseline is chosen."""

    context: str
    length: int = 0
    related: bool = False  # a relation such as = stands on this baseline already
    integrating: bool = False  # an integral waits for its d
    before: str = BEGIN  # category of the item before the last
    last: str = BEGIN  # category of the last item, with a star if scripts hang on it
    last_label: str = BEGIN

    def after(self, item: Item) -> Situation:
        """The situation once ``item`` is written."""
        return replace(
            self,
            length=self.length + 1,
            related=self.related or item.category == "relation",
            integrating=item.category == "integral" or (self.integrating and item.category != DIFFERENTIAL),
            before=self.last,
            last=item.category + "*" if item.around and item.category in _CLOSED_BY_SCRIPTS else item.category,
            last_label=item.label,
        )

    @property
    def _flags(self) -> str:
        return f"{'r' if self.related else '-'}{'i' if self.integrating else '-'}"

    def end_key(self) -> tuple[str, ...]:
        return (str(min(self.length, 12)), self._flags, self.context, self.last)

    def category_key(self) -> tuple[str, ...]:
        return (self.before, self._flags, self.context, self.last)

    def label_key(self, category: str) -> tuple[str, ...]:
        return (self.last_label, self.context, category)

    def around_key(self, item: Item) -> tuple[str, ...]:
        return (self.context, item.category, item.label)

    def repeat_key(self, names: Sequence[str]) -> tuple[str, ...]:
        return (self.context, self.last, str(min(len(names), 4)))


def _category(node: SymbolNode, finished: list[Item]) -> str:
    if node.is_fraction_bar:
        return "fraction"
    if node.label == "d" and _integral_waits(finished):
        return DIFFERENTIAL
    if node.label in _FIRST_DIGITS and not (finished and finished[-1].category in _INSIDE_A_NUMBER):
        return _FIRST_DIGITS[node.label]
    return _CATEGORY_OF.get(node.label, NAMES)


def _around(node: SymbolNode, category: str) -> dict[str, list[Item]]:
    """What hangs on a symbol, in the relations plain LaTeX gives it: limits of a sum below and above, of an integral
    to its right."""
    allowed: tuple[str, ...] = ("Sub", "Sup")
    renamed: dict[str, str] = {}
    if category == "bigoperator":
        allowed, renamed = ("Below", "Above"), {"Sub": "Below", "Sup": "Above"}
    elif category == "integral":
        renamed = {"Below": "Sub", "Above": "Sup"}
    elif category == "fraction":
        allowed = ("Above", "Below", "Sub", "Sup")
    elif category == "root":
        allowed = ("Inside", "Above", "Sub", "Sup")
    around: dict[str, list[Item]] = {}
    for name, below in node.around.items():
        name = renamed.get(name, name)
        if name in around or name not in allowed:
            raise IrregularExpression(f"{name} of {node.label} is nothing LaTeX can write")
        around[name] = items_of(below)
    if category == "root" and "Inside" not in around:
        raise IrregularExpression("a root with nothing inside")
    return around


def _integral_waits(finished: list[Item]) -> bool:
    for item in reversed(finished):
        if item.category in ("integral", DIFFERENTIAL):
            return item.category == "integral"
    return False


def _may_open(finished: list[Item]) -> bool:
    return not finished or finished[-1].category not in _AFTER_OPERAND


def _another_bar_follows(baseline: Baseline, position: int) -> bool:
    return any(node.label == "|" for node in baseline[position + 1 :])
