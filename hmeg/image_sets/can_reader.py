"""CAN's own files: ``<split>_images.pkl`` with ``<split>_labels.txt`` beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from hmeg.quoting import quoted

from .captions import tokens_by_image
from .image_files import read_file
from .image_pickle import read_images
from .image_set import Entry, ImageSet
from .labels import Caption, WithoutTokens

PICKLE = "_images.pkl"


def open_can(path: Path) -> ImageSet:
    images = read_images(path)
    labels = path.with_name(path.name.removesuffix(PICKLE) + "_labels.txt")
    tokens: dict[str, tuple[str, ...]] = {}
    lacks = f"{labels}: no such file; it should have the labels of {path.name}"
    if not path.name.endswith(PICKLE):
        lacks = f"{path} has no labels: they are looked for beside files called <split>{PICKLE}"
    elif labels.is_file():
        tokens = tokens_by_image(read_file(labels), str(labels), images, path.name)
        lacks = ""
    entries = []
    for name, array in images.items():
        found = tokens.get(name)
        why_not = lacks or f"{labels} has no line for {quoted(name)}"
        label = Caption(found) if found is not None else WithoutTokens(why_not)
        entries.append(Entry(name, partial(_itself, array), label, partial(_stored, array)))
    return ImageSet(path, "CAN pickle", entries, inverted=False)


def _itself(array: np.ndarray) -> np.ndarray:
    return array


def _stored(array: np.ndarray) -> bytes:
    return repr(array.shape).encode() + array.tobytes()
