"""Symbols as classes of objects: what COCO and YOLO have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hmeg.graph import SymbolGraph
from hmeg.graph.vocabulary import Vocabulary

Box = tuple[int, float, float, float, float]  # id of the symbol, x0, y0, x1, y1 in pixels


def check_symbols(graph: SymbolGraph) -> None:
    """``ValueError`` for a graph with a symbol that the open vocabulary gives no id, as of a table of one's own."""
    Vocabulary.open().require(graph.symbols, "classes of detectors")


def boxes_of(label: dict[str, Any]) -> Iterator[Box]:
    """The boxes of what the image shows; ids are those of the vocabulary, from 1 on.

    A box without area, of a symbol that lies outside of the image, is left out, and so is a symbol without ink.
    """
    known = Vocabulary.open()
    for symbol, (x0, y0, x1, y1) in zip(label["symbols"], label["boxes"], strict=True):
        if x1 > x0 and y1 > y0 and known[symbol].has_ink:
            yield known.id_of(symbol), x0, y0, x1, y1


def classes_of(labels: Path) -> tuple[str, ...]:
    """Names of the ids from 1 on: CROHME's 101 symbols, or, where that is not enough for a run, all of the table."""
    crohme = Vocabulary.crohme()
    for label in labels_of(labels):
        if crohme.unknown(label["symbols"]):
            return Vocabulary.open().names
    return crohme.names


def labels_of(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of labels, one at a time."""
    with path.open("rb") as labels:
        for line in labels:
            yield json.loads(line)
