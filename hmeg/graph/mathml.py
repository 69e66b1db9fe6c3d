"""Presentation MathML -> symbol graph, in the conventions of CROHME's label graphs.

One walk serves InkML and documents. It keeps a *cursor*: the symbol and the relation that the
next symbol of the current row is attached by. A symbol on the row moves the cursor to ``(itself, Right)``, so

* a script attaches to the last symbol of its base, and the row goes on from that same symbol (``x^2+1``: Sup from x to
  2, Right from x to +; ``(a)^2``: Sup from the closing bracket);
* a fraction is its bar, a root its sign: relations of the row come to and go from that symbol.

Nodes are in reading order: a symbol before whatever hangs on it, index before radicand, numerator before denominator,
subscript before superscript.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from hmeg.quoting import quoted

from .latex_macros import UNDER_MARKS
from .symbol_graph import Relation, SymbolGraph
from .symbol_names import label_of_name, labels_of_text

XML_ID = "{http://www.w3.org/XML/1998/namespace}id"


class MathmlError(ValueError):
    """MathML that is no symbol graph; ``element`` is the offending element where there is one."""

    def __init__(self, message: str, element: Element | None = None) -> None:
        super().__init__(message)
        self.element = element


class Leaf(NamedTuple):
    """A symbol of the graph: its label and the MathML element it was read from."""

    label: str
    element: Element


@dataclass
class MathmlLayout:
    """Symbols in reading order, each with its MathML element, and the relations between their rows."""

    leaves: list[Leaf] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)

    def graph(self, latex: str | None = None) -> SymbolGraph:
        """The symbol graph, without the elements."""
        return SymbolGraph(tuple(leaf.label for leaf in self.leaves), tuple(self.relations), latex=latex)


def read_mathml(source: Element | str | bytes) -> SymbolGraph:
    """Symbol graph of a MathML expression.

    source  a ``math`` element (any element of Presentation MathML, namespace or not) or a document as text or bytes.
    Raises MathmlError (a ValueError) for XML that is not well-formed or declares entities, for elements that have no
    counterpart in a symbol graph (multiscripts, actions), for symbols outside the vocabulary, and when there is no
    symbol at all.
    """
    element = source if isinstance(source, Element) else parse_xml(source)
    if local_name(element) != "math":
        # A document may hold its one formula anywhere, e.g. in HTML.
        formulas = [e for e in element.iter() if local_name(e) == "math"]
        if len(formulas) > 1:
            raise MathmlError(f"{len(formulas)} math elements where one is wanted")
        element = formulas[0] if formulas else element
    return read_layout(element).graph()


def parse_xml(data: str | bytes) -> Element:
    """Root element of an XML document from an untrusted source.

    Entities, external or not, are refused. Bytes that claim to be UTF-8 and are not are decoded with U+FFFD in place
    of what is broken: this character is no symbol, so it cannot pass for one. Raises MathmlError.
    """
    try:
        return _parse(data)
    except MathmlError:
        if isinstance(data, str):
            raise
        text = data.decode("utf-8", errors="replace")
        if "\ufffd" not in text or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise
        return _parse(text)


def _parse(data: str | bytes) -> Element:
    try:
        root = fromstring(data, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as error:
        raise MathmlError(f"refused XML: {type(error).__name__}") from None
    except ParseError as error:
        raise MathmlError(f"XML is not well-formed: {error}") from None
    except (LookupError, ValueError) as error:  # an encoding nobody knows
        raise MathmlError(f"XML cannot be decoded: {error}") from None
    assert isinstance(root, Element)
    return root


def local_name(element: Element) -> str:
    """Tag without namespace; empty for comments and processing instructions."""
    tag = element.tag
    return tag.rsplit("}", 1)[-1] if isinstance(tag, str) else ""


def labels_by_text(element: Element) -> list[str]:
    """Symbols a token element or a construct stands for: ``-`` for mfrac, ``\\sqrt`` for a root, else by its text."""
    tag = local_name(element)
    if tag == "mfrac":
        return ["-"]
    if tag in ("msqrt", "mroot"):
        return [r"\sqrt"]
    text = "".join(element.itertext())
    font = _FONTS.get(element.get("mathvariant", ""))
    if font is not None and (letter := label_of_name(f"{font}{{{text.strip()}}}")) is not None:
        return [letter]
    try:
        return labels_of_text(text, names=tag not in ("mtext", "ms"))
    except ValueError as error:
        raise MathmlError(str(error), element) from None


# Fonts whose letters are symbols of their own.
_FONTS = {"double-struck": r"\mathbb", "script": r"\mathcal", "fraktur": r"\mathfrak"}


class _Cursor:
    """Where the next symbol of a row is attached; ``row`` is None before the first symbol of the expression."""

    __slots__ = ("relation", "row")

    def __init__(self, row: int | None, relation: str) -> None:
        self.row = row
        self.relation = relation


_TRANSPARENT = frozenset(["math", "mrow", "mstyle", "mpadded", "merror", "semantics", "mtd"])
_TOKENS = frozenset(["mi", "mn", "mo", "mtext", "ms"])
_INVISIBLE = frozenset(["mspace", "mphantom", "none", "maligngroup", "malignmark", "annotation", "annotation-xml"])
# element -> relations of its children after the first
_SCRIPTS = {
    "msub": ("Sub",),
    "msup": ("Sup",),
    "msubsup": ("Sub", "Sup"),
    "munder": ("Below",),
    "mover": ("Above",),
    "munderover": ("Below", "Above"),
}

_ENCLOSURES = {"box": r"\square", "circle": r"\bigcirc"}
# The characters of marks. None of them is one of CROHME's symbols, so its ink keeps its own reading.
_MARKS_OVER = {
    **dict.fromkeys("^\u02c6\u0302", r"\hat"),
    **dict.fromkeys("~\u02dc\u0303", r"\tilde"),
    **dict.fromkeys("\u00af\u203e\u0304\u0305\u2015_", r"\overline"),
    **dict.fromkeys("\u20d7\u27f6", r"\overrightarrow"),
    **dict.fromkeys("\u20d6", r"\overleftarrow"),
    **dict.fromkeys("\u02d9\u0307", r"\dot"),
    **dict.fromkeys("\u00a8\u0308", r"\ddot"),
    "\u20db": r"\dddot",
    **dict.fromkeys("\u02c7\u030c", r"\check"),
    **dict.fromkeys("\u02d8\u0306", r"\breve"),
    **dict.fromkeys("\u00b4\u0301", r"\acute"),
    **dict.fromkeys("`\u0300", r"\grave"),
    **dict.fromkeys("\u02da\u030a", r"\mathring"),
    "\u23de": r"\overbrace",
    **dict.fromkeys("\u23dc\u2312", r"\wideparen"),
}
_MARKS_UNDER = {**dict.fromkeys("_\u0332\u203e\u00af\u2015\u0331", r"\underline"), "\u23df": r"\underbrace"}


def read_layout(root: Element, labels_of: Callable[[Element], list[str]] = labels_by_text) -> MathmlLayout:
    """Walk a MathML tree; ``labels_of`` gives the labels of a token, mfrac, msqrt or mroot element.

    The walk keeps its own stack: CROHME nests one ``mrow`` a symbol, and input may nest as it likes.
    Raises MathmlError.
    """
    layout = MathmlLayout()
    steps: list[Callable[[], None]] = []

    def place(label: str, element: Element, cursor: _Cursor) -> int:
        row = len(layout.leaves)
        layout.leaves.append(Leaf(label, element))
        if cursor.row is not None:
            layout.relations.append(Relation(cursor.row, row, cursor.relation))
        cursor.row, cursor.relation = row, "Right"
        return row

    def place_one(element: Element, cursor: _Cursor) -> int:
        labels = labels_of(element)
        if len(labels) != 1:
            raise MathmlError(f"{local_name(element)} stands for {len(labels)} symbols", element)
        return place(labels[0], element, cursor)

    def later(element: Element, cursor: _Cursor) -> None:
        steps.append(lambda: visit(element, cursor))

    def attached(element: Element, row: int, relation: str, part: str | None) -> None:
        """Visit a part that hangs on symbol ``row``; ``part`` names it when it must not be empty."""

        def check(before: int) -> None:
            if len(layout.leaves) == before:
                raise MathmlError(f"{part} is empty", element)

        def start() -> None:
            if part is not None:
                before = len(layout.leaves)
                steps.append(lambda: check(before))
            later(element, _Cursor(row, relation))

        steps.append(start)

    def visit(element: Element, cursor: _Cursor) -> None:
        tag = local_name(element)
        children = [child for child in element if local_name(child)]
        if tag in _TOKENS:
            for label in labels_of(element):
                place(label, element, cursor)
        elif tag in _TRANSPARENT:
            for text in (element.text, *(child.tail for child in element)):
                if text and text.strip():
                    raise MathmlError(f"text {quoted(text.strip()[:20])} stands outside mi, mn, mo and mtext", element)
            for child in reversed(children):
                later(child, cursor)
        elif tag in _INVISIBLE or not tag:
            pass
        elif tag == "mfrac":
            _expect(element, children, 2)
            if element.get("linethickness", "").strip().rstrip("ptxemn%").strip() in ("0", "0.0"):
                array([[children[0]], [children[1]]], element, cursor)
                return
            bar = place_one(element, cursor)
            attached(children[1], bar, "Below", "denominator of a fraction")
            attached(children[0], bar, "Above", "numerator of a fraction")
        elif tag == "msqrt":
            sign = place_one(element, cursor)
            attached(_row_of(children), sign, "Inside", "radicand of a root")
        elif tag == "mroot":
            _expect(element, children, 2)
            sign = place_one(element, cursor)
            attached(children[0], sign, "Inside", "radicand of a root")
            attached(children[1], sign, "Above", None)
        elif tag in _SCRIPTS:
            if len(children) == 1 and len(_SCRIPTS[tag]) == 1:
                # CROHME writes an empty script so.
                later(children[0], cursor)
                return
            _expect(element, children, 1 + len(_SCRIPTS[tag]))
            mark = _mark_of(tag, children)
            if mark is not None:
                row = place(mark, children[1], cursor)
                attached(children[0], row, "Above" if mark in UNDER_MARKS else "Below", "what a mark stands at")
                return
            scripts(element, children, cursor)
        elif tag == "mfenced":
            fenced(element, children, cursor)
        elif tag == "mtable":
            rows = [row for row in children if local_name(row) in ("mtr", "mlabeledtr")]
            array([[cell for cell in row if local_name(cell) == "mtd"] for row in rows], element, cursor)
        elif tag == "menclose" and element.get("notation", "").split() in (["box"], ["circle"]):
            frame = place(_ENCLOSURES[element.get("notation", "").strip()], element, cursor)
            attached(_row_of(children), frame, "Inside", None)
        else:
            raise MathmlError(f"element {tag} has no counterpart in a symbol graph", element)

    def array(rows: list[list[Element]], element: Element, cursor: _Cursor) -> None:
        """Cells of an array, its rows under each other; one row is no array but what stands in it."""
        if len(rows) < 2:
            for cell in reversed([cell for row in rows for cell in row]):
                later(cell, cursor)
            return
        first, at = -1, cursor
        for cells in rows:
            if first >= 0:
                at = _Cursor(first, "Below")
            placed = [(place("&", element, at), cell) for cell in cells or [Element("mtd")]]
            first = placed[0][0]
            for row, cell in reversed(placed):
                attached(cell, row, "Inside", None)

    def scripts(element: Element, children: list[Element], cursor: _Cursor) -> None:
        relations = _SCRIPTS[local_name(element)]

        def after_base() -> None:
            # An empty base leaves the script to the symbol before it on the row, as TeX sets it.
            base = cursor.row if cursor.relation == "Right" else None
            if base is None:
                before = len(layout.leaves)
                steps.append(lambda: nothing_placed_since(before))
                for script in children[1:]:
                    later(script, _Cursor(None, "Right"))
                return
            for script, relation in reversed(list(zip(children[1:], relations, strict=True))):
                attached(script, base, relation, None)

        def nothing_placed_since(before: int) -> None:
            if len(layout.leaves) != before:
                raise MathmlError("a script has no symbol to stand at", element)

        steps.append(after_base)
        later(children[0], cursor)

    def fenced(element: Element, children: list[Element], cursor: _Cursor) -> None:
        separators = element.get("separators", ",").split()
        row: list[Element] = [_operator(element.get("open", "("))]
        for i, child in enumerate(children):
            if i and separators:
                row.append(_operator("".join(separators)[min(i, len("".join(separators))) - 1]))
            row.append(child)
        row.append(_operator(element.get("close", ")")))
        for child in reversed(row):
            later(child, cursor)

    later(root, _Cursor(None, "Right"))
    while steps:
        steps.pop()()
    if not layout.leaves:
        raise MathmlError("the expression has no symbols", root)
    return layout


def _row_of(children: list[Element]) -> Element:
    row = Element("mrow")
    row.extend(children)
    return row


def _mark_of(tag: str, children: list[Element]) -> str | None:
    """The mark that ``mover`` or ``munder`` puts at its base, or None where its script is a row of its own."""
    script = children[1]
    if tag not in ("mover", "munder") or local_name(script) not in _TOKENS:
        return None
    text = "".join(script.itertext()).strip()
    return (_MARKS_OVER if tag == "mover" else _MARKS_UNDER).get(text)


def _operator(text: str) -> Element:
    element = Element("mo")
    element.text = text
    return element


def _expect(element: Element, children: list[Element], count: int) -> None:
    if len(children) != count:
        raise MathmlError(f"{local_name(element)} has {len(children)} children, not {count}", element)
