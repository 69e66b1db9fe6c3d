"""What is said about an image: tokens as they stand, canonical LaTeX, a graph with boxes."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from hmeg.data.relation_records import from_records
from hmeg.graph import SymbolGraph
from hmeg.graph.baselines import baseline_from, to_latex
from hmeg.graph.latex import parse_latex


class NoLatex(Exception):
    """An expression that LaTeX cannot write; the message says why."""


class Label(ABC):
    """What is said about an image. Errors name the place where it is said."""

    __slots__ = ()

    @abstractmethod
    def tokens(self) -> tuple[str, ...]:
        """The expression as it stands, for recognisers.

        :class:`NoLatex` for one that has none; ``ValueError`` where nobody says.
        """

    @abstractmethod
    def canonical(self) -> str | None:
        """The expression, the same however it was typed; None where nobody says."""

    def graph(self) -> SymbolGraph | None:
        """The expression with boxes in [0, 1] of the image, where they are known."""
        return None


class Caption(Label):
    """Tokens, one after the other."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: tuple[str, ...]) -> None:
        self._tokens = tokens

    def tokens(self) -> tuple[str, ...]:
        return self._tokens

    def canonical(self) -> str | None:
        return canonical_label(" ".join(self._tokens)) or None


class WithoutTokens(Label):
    """Nothing that a recogniser could use.

    why    in a sentence that names the place
    latex  the expression as somebody typed it, if it is known
    """

    __slots__ = ("latex", "why")

    def __init__(self, why: str, latex: str = "") -> None:
        self.why, self.latex = why, latex

    def tokens(self) -> tuple[str, ...]:
        raise ValueError(self.why)

    def canonical(self) -> str | None:
        return canonical_label(self.latex) or None


class Drawn(Label):
    """A graph with boxes. Its tokens are written from it, so that one graph has one spelling."""

    __slots__ = ("_graph",)

    def __init__(self, graph: SymbolGraph) -> None:
        self._graph = graph

    def tokens(self) -> tuple[str, ...]:
        try:
            return _interned(to_latex(baseline_from(self._graph)).split())
        except ValueError as error:
            raise NoLatex(str(error)) from None

    def canonical(self) -> str | None:
        return _canonical_of(self._graph)

    def graph(self) -> SymbolGraph:
        return self._graph


class Text(Protocol):
    """Where something stands that can be read again, such as a :class:`hmeg.image_sets.image_files.Piece`."""

    def read(self) -> bytes:
        """The bytes; ``ValueError``, naming the place, if they cannot be read."""


class Record(Label):
    """An object as `hmeg generate` writes it: tokens, latex, symbols, relations, boxes in pixels; any may be missing.

    text   where it stands: of millions of samples the rest would fill the memory, so it is read again when asked for
    place  the same in words
    size   width and height of the image
    """

    __slots__ = ("_says_none", "_size", "_text", "_tokens", "place")

    def __init__(self, record: dict[str, Any], text: Text, place: str, size: Callable[[], tuple[int, int]]) -> None:
        self.place, self._text, self._size = place, text, size
        tokens = record.get("tokens")
        if tokens is not None and not _is_texts(tokens):
            raise ValueError(f"{place}: 'tokens' must be a list of texts")
        if not isinstance(record.get("latex", ""), str | None):
            raise ValueError(f"{place}: 'latex' must be text")
        self._tokens = None if tokens is None else _interned(tokens)
        self._says_none = "tokens" in record

    def tokens(self) -> tuple[str, ...]:
        if self._tokens is not None:
            return self._tokens
        if self._says_none:
            raise NoLatex("a graph that has no LaTeX")
        raise ValueError(f"{self.place}: the label has no 'tokens'")

    def canonical(self) -> str | None:
        record = json_object(self._text.read(), self.place)
        if _has_boxes(record):
            return _canonical_of(self._graph_of(record, (1, 1)))
        return canonical_label(" ".join(self._tokens or ()) or record.get("latex") or "") or None

    def graph(self) -> SymbolGraph | None:
        record = json_object(self._text.read(), self.place)
        return self._graph_of(record, self._size()) if _has_boxes(record) else None

    def _graph_of(self, record: dict[str, Any], size: tuple[int, int]) -> SymbolGraph:
        symbols = record["symbols"]
        if not _is_texts(symbols):
            raise ValueError(f"{self.place}: 'symbols' must be a list of texts")
        try:
            edges = from_records(record.get("relations"))
            boxes = np.asarray(record["boxes"], dtype=np.float64) / (*size, *size)
            if not np.isfinite(boxes).all():
                raise ValueError("a box that is not finite")
            return SymbolGraph(tuple(symbols), edges, boxes.astype(np.float32), record.get("latex"))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{self.place}: the graph is damaged ({error})") from None


def canonical_label(latex: str) -> str:
    """The tokens of an expression, separated by blanks, the same however it was typed.

    LaTeX beyond the 101 symbols stays as it is, with blanks made single.
    """
    try:
        return to_latex(baseline_from(parse_latex(latex)))
    except ValueError:
        return " ".join(latex.split())


def json_object(text: bytes, place: str) -> dict[str, Any]:
    """The object that ``text`` is; ``ValueError``, beginning with ``place``, if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError(f"{place} is not JSON") from None
    except RecursionError:
        raise ValueError(f"{place} is no label: its JSON is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError(f"{place} must be an object, got {type(found).__name__}")
    return found


def _canonical_of(graph: SymbolGraph) -> str | None:
    try:
        return to_latex(baseline_from(graph))
    except ValueError:
        return canonical_label((graph.latex or "").strip("$ ")) or None


def _has_boxes(record: dict[str, Any]) -> bool:
    return bool(record.get("boxes") and record.get("symbols"))


def _is_texts(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(text, str) for text in found)


def _interned(tokens: list[str]) -> tuple[str, ...]:
    """A few words, millions of times: each is kept once."""
    return tuple(map(sys.intern, tokens))
