"""Folders of `hmeg generate --format folder`, `coco` or `yolo`: PNG files and ``labels.jsonl``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hmeg.quoting import quoted

from .image_files import Piece, is_plain_name, read_file, read_image, size_of
from .image_set import Entry, ImageSet
from .labels import Record, json_object

LABELS = "labels.jsonl"


def open_run(folder: Path) -> ImageSet:
    """What labels.jsonl lists. Other files of the folder, such as a contact sheet, are none of its images."""
    there = {file.name for file in folder.iterdir()}
    entries: list[Entry] = []
    for number, (line, text) in enumerate(_lines(folder / LABELS), 1):
        place = f"{folder / LABELS}, line {number}"
        record = json_object(line, place)
        name = record.get("image")
        if not isinstance(name, str):
            raise ValueError(f"{place}: 'image' must be text, got {name!r}")
        if not all(is_plain_name(part) for part in name.split("/")):
            raise ValueError(f"{place}: {quoted(name)} is no name of a file in this folder")
        label = Record(record, text, place, partial(_size, folder / name))
        if name not in there and not ("/" in name and (folder / name).is_file()):
            raise ValueError(f"{place}: there is no image {folder / name}")
        entries.append(Entry(name, partial(read_image, folder / name), label, partial(read_file, folder / name)))
    return ImageSet(folder, "folder of hmeg generate", entries, inverted=False)


def _lines(path: Path) -> Iterator[tuple[bytes, Piece]]:
    """Lines and where they stand, but for half a last one, which a run that is still at work may leave."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line, Piece(path, offset, len(line))
            offset += len(line)


def _size(path: Path) -> tuple[int, int]:
    return size_of(read_file(path), str(path))
