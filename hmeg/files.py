"""Files that are whole at any moment: written at once or not at all, or appended to by whole records."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PART = ".part"


def partial(path: Path) -> Path:
    """Where a file is written before it appears at ``path``."""
    return path.with_name(path.name + PART)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file all at once or not at all. Cheap, for many small files: a power cut may still cost the content."""
    part = partial(path)
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` with a neighbouring path and renames the result: readers see the old file or the new one.

    The content is on the disk before the name is: after a power cut, too, the file is one of the two. What ``write``
    leaves when it fails is removed: it may be what fills the disk.
    """
    part = partial(path)
    try:
        write(part)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    for synchronised, then in ((part, lambda: os.replace(part, path)), (path.parent, lambda: None)):
        descriptor = os.open(synchronised, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        then()


def same_place(one: str, other: str) -> bool:
    """Whether two paths, as somebody typed them, name one place: ``data``, ``./data/`` and its absolute path do."""
    return one == other or (bool(one and other) and os.path.realpath(one) == os.path.realpath(other))


def missing_folders(path: Path) -> list[Path]:
    """The folders above ``path`` that do not exist, the deepest first."""
    return [folder for folder in path.parents if not folder.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Removes those folders that are there and empty; give the deepest first."""
    for folder in folders:
        with contextlib.suppress(OSError):  # it is not there, or somebody has put something into it
            folder.rmdir()


def check_writable(path: Path) -> None:
    """``ValueError``, naming file and folder, if no file can be made there. Nothing is left behind, folders neither.

    For commands that work long before they write.
    """
    new = missing_folders(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=PART):
            pass
    except OSError as error:
        reason = f"no file can be made in {path.parent} ({error.strerror})"
        raise ValueError(f"{path.name} cannot be written: {reason}; choose another place") from None
    finally:
        remove_empty(new)


class JsonLines:
    """A file of JSON objects, one a line, that never keeps half a line.

    length  bytes to keep of what is there already; the rest is cut off. ``ValueError`` if there are fewer.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        self.path = path
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        there = self._file.seek(0, os.SEEK_END)
        if there < length:
            self._file.close()
            raise ValueError(
                f"{path} has {there} bytes, fewer than the {length} that were finished: it was "
                "changed; start again with --overwrite"
            )
        self._file.truncate(length)
        self.length = length

    def append(self, value: dict[str, Any]) -> None:
        """Adds a line. ``OSError`` when the disk says no: the file is then as it was before."""
        line = (json.dumps(value) + "\n").encode("ascii")
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
        except BaseException:
            self._file.truncate(self.length)
            raise
        self.length += len(line)

    def close(self) -> None:
        """Closes the file; closing again does nothing."""
        self._file.close()
