"""What CoMER trains on: a zip archive of ``data/<split>/img/<name>.bmp`` and ``data/<split>/caption.txt``."""

from __future__ import annotations

import zipfile
import zlib
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

import numpy as np

from .captions import tokens_by_image
from .image_files import check_bytes, decode, is_image_name
from .image_set import Entry, ImageSet
from .labels import Caption, WithoutTokens

_CAPTIONS = "caption.txt"
# What zipfile says of damaged archives; of encrypted ones it is a RuntimeError, of methods it does not know the last.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)


def open_comer(path: Path, split: str | None = None) -> ImageSet:
    """The images of one split, such as ``data/train``; None: of the only one there is.

    Images beside a caption.txt, or in a folder beside it, belong to it. With captions they are light ink on dark paper.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            captions = {
                str(PurePosixPath(name).parent): _bytes(archive, name)
                for name in names
                if PurePosixPath(name).name == _CAPTIONS
            }
    except _DAMAGE as error:
        raise ValueError(f"{path}: not a readable zip archive ({error})") from None
    images = [name for name in names if is_image_name(name)]
    if split is None and len(captions) > 1:
        raise ValueError(f"{path} holds several sets: give one of {', '.join(str(path / own) for own in captions)}")
    if split is not None:
        if split not in captions:
            raise ValueError(f"{path} has no {split}/{_CAPTIONS}")
        captions = {split: captions[split]}
        images = [name for name in images if _belongs(name, split)]
    tokens: dict[str, tuple[str, ...]] = {}
    for folder, content in captions.items():
        own = [name for name in images if _belongs(name, folder)]
        tokens = tokens_by_image(content, f"{path / folder / _CAPTIONS}", own, f"{path / folder}")
    several = len({PurePosixPath(name).parent for name in images}) > 1
    entries = []
    for name in images:
        found = tokens.get(name)
        lacks = WithoutTokens(f"{path / name} has no line in a {_CAPTIONS}")
        label = lacks if found is None else Caption(found)
        short = name if several else PurePosixPath(name).stem
        entries.append(Entry(short, partial(_read, path, name), label, partial(stored_bytes, path, name)))
    kind = "CoMER archive" if captions else "zip archive of images"
    return ImageSet(path, kind, entries, inverted=True if captions else None)


def _belongs(image: str, folder: str) -> bool:
    parents = PurePosixPath(image).parents
    return folder in (str(parent) for parent in parents[:2])


def _bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    check_bytes(archive.getinfo(name).file_size, f"{archive.filename}/{name}")
    return archive.read(name)


@lru_cache(maxsize=8)
def _archive(path: Path, changed: int) -> zipfile.ZipFile:
    """Kept open: its directory is read once, not for every image. ``changed``: when the file last did."""
    return zipfile.ZipFile(path)


def _read(path: Path, name: str) -> np.ndarray:
    return decode(stored_bytes(path, name), f"{path}/{name}")


def stored_bytes(path: Path, name: str) -> bytes:
    """A member of an archive; ``ValueError``, naming both, if it cannot be read."""
    try:
        return _bytes(_archive(path, path.stat().st_mtime_ns), name)
    except (*_DAMAGE, OSError, KeyError) as error:
        raise ValueError(f"{path}/{name}: cannot be read ({error})") from None
