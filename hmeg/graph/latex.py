"""LaTeX -> Presentation MathML (latex2mathml) -> symbol graph."""

from __future__ import annotations

from latex2mathml import exceptions
from latex2mathml.converter import convert

from .latex_source import MAX_SYMBOLS, LatexError, plain_latex
from .mathml import MathmlError, parse_xml, read_layout
from .symbol_graph import SymbolGraph

# latex2mathml's errors have no common base. RecursionError: the caller's own stack may be deep already.
_CONVERSION_ERRORS: tuple[type[Exception], ...] = (
    *(e for e in vars(exceptions).values() if isinstance(e, type) and issubclass(e, Exception)),
    RecursionError,
)

__all__ = ["LatexError", "latex_to_mathml", "parse_latex"]


def latex_to_mathml(text: str, display: bool | None = None) -> str:
    """Presentation MathML of an expression, as text; arguments and errors as for ``parse_latex``."""
    plain = plain_latex(text, display)
    try:
        return convert(plain)
    except _CONVERSION_ERRORS as error:
        raise LatexError(f"latex2mathml cannot convert the expression: {type(error).__name__}", text, 0) from None


def parse_latex(text: str, display: bool | None = None) -> SymbolGraph:
    r"""Symbol graph of a LaTeX expression, in CROHME's conventions; ``latex`` of the graph is ``text`` as it came.

    text     one expression, with or without ``$``; spaces, sizes and fonts are ignored, synonyms (``\le``, ``\to``)
             become symbols of the vocabulary
    display  whether ``\sum`` and ``\lim`` take scripts below and above or to the right; None: to the right between
             ``$ $`` and ``\( \)``, as TeX sets them, below and above otherwise. ``\limits``, ``\nolimits``,
             ``\displaystyle`` and ``\textstyle`` in the source come first.
    Raises LatexError (a ValueError) with ``piece`` and ``position`` for anything a symbol graph cannot hold: symbols
    outside the vocabulary, unknown macros, tables, accents, unbalanced braces, missing arguments, empty input, more
    than 256 symbols.
    """
    mathml = latex_to_mathml(text, display)
    try:
        graph = read_layout(parse_xml(mathml)).graph(latex=text)
    except MathmlError as error:
        raise LatexError(str(error), text, 0) from None
    if len(graph) > MAX_SYMBOLS:  # counted as read above, but for macros that stand for several symbols
        raise LatexError(f"{len(graph)} symbols; at most {MAX_SYMBOLS} are possible", text, 0)
    return graph
