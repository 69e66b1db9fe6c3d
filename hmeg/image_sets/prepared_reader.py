"""Folders of `hmeg data crohme`: ``graphs.jsonl``, ``dataset.json`` and ``images/``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hmeg.quoting import quoted

from .image_files import is_plain_name, read_file, read_image
from .image_set import Entry, ImageSet
from .labels import Drawn


def open_prepared(folder: Path) -> ImageSet:
    from hmeg.data.crohme import CrohmeDataset  # it imports torch's data sets

    data = CrohmeDataset(folder)
    for name in data.names:
        if not is_plain_name(name):
            raise ValueError(f"{folder / 'graphs.jsonl'}: {quoted(name)} is no name of a file in {folder / 'images'}")
    entries = []
    for name, graph in zip(data.names, data.graphs, strict=True):
        image = folder / "images" / f"{name}.png"
        entries.append(Entry(name, partial(read_image, image), Drawn(graph), partial(read_file, image)))
    settings = read_file(folder / "dataset.json")
    return ImageSet(folder, "prepared data set", entries, inverted=False, settings=settings)
