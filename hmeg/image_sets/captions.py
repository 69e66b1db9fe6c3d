"""Lines ``name token token ...``: what CAN and CoMER read labels from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from hmeg.quoting import quoted

from .image_files import SUFFIXES


def tokens_by_image(content: bytes, place: str, images: Iterable[str], where: str) -> dict[str, tuple[str, ...]]:
    """The tokens of every image that ``content`` has a line for.

    place   what messages call the lines
    images  names; a line may add folder and suffix, or leave them out
    where   what messages call the images
    ``ValueError``, with the line's number, for a name that is of no image, of several, or of one that has its tokens.
    """
    exact, index = dict.fromkeys(images), dict[str, list[str]]()
    for image in exact:
        for key in dict.fromkeys(_keys(image)):
            index.setdefault(key, []).append(image)
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(content.splitlines(), 1):
        try:
            name, *tokens = line.decode("utf-8").split() or [""]
        except UnicodeDecodeError:
            raise ValueError(f"{place}, line {number}: not UTF-8 text") from None
        if not name:
            continue
        own = [name] if name in exact else next((index[key] for key in _keys(name) if key in index), [])
        if not own:
            raise ValueError(f"{place}, line {number}: {where} has no image {quoted(name)}")
        if len(own) > 1:
            either = f"{quoted(own[0])} or {quoted(own[1])}"
            raise ValueError(f"{place}, line {number}: {quoted(name)} may be {either} of {where}")
        if own[0] in found:
            raise ValueError(f"{place}, line {number}: image {quoted(own[0])} has a label already")
        found[own[0]] = tuple(tokens)
    if not found:
        raise ValueError(f"{place}: no line `name token token ...`")
    return found


def _keys(name: str) -> tuple[str, str, str]:
    """The name, then without folder, then without suffix."""
    path = PurePosixPath(name)
    return name, path.name, path.stem if path.suffix.lower() in SUFFIXES else path.name
