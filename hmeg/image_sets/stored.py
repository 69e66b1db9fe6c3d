"""The images of a run one after the other, as they are stored, in constant memory.

:func:`hmeg.image_sets.open_images` gives images by number and keeps something of each; this reads all of them once.
"""

from __future__ import annotations

import pickle
import pickletools
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from hmeg.quoting import quoted

from .comer_reader import stored_bytes
from .comer_writer import ARCHIVE
from .image_files import check_bytes, decode, is_plain_name, read_file
from .image_pickle import images_of
from .parquet_reader import stream_parquet

Stored = bytes | np.ndarray  # a PNG file, or (H, W) uint8 with dark ink on light paper


def stored_images(folder: Path, form: str, split: str, shards: Iterable[str]) -> Callable[[str], Stored]:
    """A function that gives the image of a name; it is asked for all images, in the order of the run's labels.

    form, split, shards  as the run's manifest has them; the names of the files of its shards, in order
    ``ValueError``, naming the place, for an image that is not there, is another than the next, or cannot be read.
    """
    if form == "webdataset":
        return _in_order(folder, (pair for name in shards for pair in _of_tar(folder / name)))
    if form == "parquet":
        return _in_order(folder, (pair for name in shards for pair in stream_parquet(folder / name)))
    if form == "can":
        return _in_order(folder, _of_pickle(folder / f"{split}_images.pkl"))
    if form == "comer":
        return lambda name: _of_archive(folder / ARCHIVE, f"data/{split}/img/{name}.bmp")
    return lambda name: _of_folder(folder, name)


def _in_order(folder: Path, images: Iterator[tuple[str, Stored]]) -> Callable[[str], Stored]:
    def read(name: str) -> Stored:
        found, image = next(images, (None, b""))
        if found != name:
            there = "no more image" if found is None else f"image {quoted(found)}"
            raise ValueError(f"{folder}: labels tell of image {quoted(name)}, but there is {there}: files were changed")
        return image

    return read


def _of_folder(folder: Path, name: str) -> bytes:
    if not all(is_plain_name(part) for part in name.split("/")):
        raise ValueError(f"{folder}: {quoted(name)} is no name of a file in this folder")
    return read_file(folder / name)


def _of_tar(shard: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if member.isreg() and member.name.endswith(".png"):
                    check_bytes(member.size, f"{shard}/{member.name}")
                    content = archive.extractfile(member)
                    assert content is not None  # it is a regular file
                    yield member.name, content.read()
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps all that it has seen
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f"{shard}: not a readable tar archive ({error})") from None


def _of_archive(archive: Path, name: str) -> np.ndarray:
    return 255 - decode(stored_bytes(archive, name), f"{archive}/{name}")


def _of_pickle(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Items of a pickle of :mod:`hmeg.image_sets.can_writer`: none refers to another, so each is read by itself."""
    before = pickle.PROTO + bytes([3]) + pickle.EMPTY_DICT
    try:
        with path.open("rb") as file:
            if file.read(len(before)) != before:
                raise ValueError("it does not begin as a pickle of hmeg's")
            start = file.tell()
            for code, _, position in pickletools.genops(file):
                if code.code != pickle.SETITEM.decode("latin1"):
                    continue
                assert position is not None  # the file can tell
                end = position + 1
                file.seek(start)
                yield from images_of(before + file.read(end - start) + pickle.STOP, path).items()
                start = end
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from None


__all__ = ["Stored", "stored_images"]
