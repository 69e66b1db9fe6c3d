"""Files out of a file, a folder or a tar archive, one at a time and without unpacking anything to disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO, cast

# One expression is a few kilobytes; a member larger than this is no handwriting and would only fill the memory.
MAX_FILE_BYTES = 64 * 1024 * 1024

_BROKEN_ARCHIVE = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)
_ARCHIVE_SUFFIXES = (".tar", ".tar.xz", ".txz", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz")


class SourceError(ValueError):
    """A file, folder or archive that cannot be read; the message is one line and names it."""


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file is named as a tar archive (.tar, .tar.xz, .tgz, ...) or holds one under another name."""
    path = Path(path)
    if not path.is_file():
        return False
    if path.name.lower().endswith(_ARCHIVE_SUFFIXES):
        return True
    try:
        return path.stat().st_size > 0 and tarfile.is_tarfile(path)
    except _BROKEN_ARCHIVE:
        return False


def iter_files(
    path: str | os.PathLike[str],
    suffixes: Collection[str] = (),
    refuse: Callable[[str, str], None] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, data)`` of every file under ``path`` whose name ends with one of ``suffixes``.

    path      a single file (yielded whatever its suffix), a folder (searched to the bottom, in sorted order) or a tar
              archive, compressed or not (read as a stream, in its own order; nothing is extracted)
    suffixes  lower-case endings such as ``(".inkml",)``; letter case of the file does not matter; empty: every file
    refuse    called with ``(name, reason)`` for a file that is left out (too large, unreadable), and the rest goes on;
              without it such a file raises SourceError
    ``name`` is the file's own name, its path inside the folder, or the member's name in the archive: a label to
    report, never a place to write to. Links, devices and ``._*`` companions in archives are passed over.
    Raises SourceError for a path that does not exist and for a damaged archive.
    """
    path = Path(path)
    wanted = tuple(s.lower() for s in suffixes)

    def left_out(name: str, reason: str) -> None:
        if refuse is None:
            raise SourceError(f"{name}: {reason}")
        refuse(name, reason)

    if path.is_dir():
        yield from _folder(path, wanted, left_out)
    elif is_archive(path):
        yield from _archive(path, wanted, left_out)
    elif path.is_file():
        data = _read(path, path.name, left_out)
        if data is not None:
            yield path.name, data
    elif path.exists():
        raise SourceError(f"{path}: neither a file nor a folder")
    else:
        raise SourceError(f"{path}: no such file or folder")


def _is_wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    last = name.rsplit("/", 1)[-1]
    return not last.startswith("._") and (not suffixes or last.lower().endswith(suffixes))


def _read(path: Path, name: str, left_out: Callable[[str, str], None]) -> bytes | None:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            left_out(name, f"larger than {MAX_FILE_BYTES >> 20} MiB")
            return None
        return path.read_bytes()
    except OSError as error:
        left_out(name, error.strerror or "cannot be read")
        return None


def _folder(root: Path, suffixes: tuple[str, ...], left_out: Callable[[str, str], None]) -> Iterator[tuple[str, bytes]]:
    for folder, subfolders, files in os.walk(root):
        subfolders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            name = path.relative_to(root).as_posix()
            if _is_wanted(name, suffixes) and path.is_file():
                data = _read(path, name, left_out)
                if data is not None:
                    yield name, data


_COMPRESSIONS = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
    (b"\x5d\x00\x00", lzma.open),
)


class _RememberedEnd:
    """A stream that keeps its last piece: tarfile does not notice when an archive breaks off between members."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.end = b""

    def read(self, size: int) -> bytes:
        piece = self.stream.read(size)
        self.end = piece or self.end
        return piece


def _decompressed(file: BinaryIO) -> BinaryIO:
    magic = file.read(6)
    file.seek(0)
    for start, opened in _COMPRESSIONS:
        if magic.startswith(start):
            # These, unlike tarfile's own, raise EOFError for data that break off.
            return cast(BinaryIO, opened(file))
    return file


def _archive(
    path: Path, suffixes: tuple[str, ...], left_out: Callable[[str, str], None]
) -> Iterator[tuple[str, bytes]]:
    try:
        with open(path, "rb") as file:
            stream = _RememberedEnd(_decompressed(file))
            # "r|": a forward-only stream, so that nothing is decompressed twice.
            with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
                yield from _members(archive, suffixes, left_out)
            if stream.end[-tarfile.BLOCKSIZE :].strip(b"\0"):
                raise SourceError(f"{path}: damaged archive (it breaks off)")
    except _BROKEN_ARCHIVE as error:
        raise SourceError(f"{path}: damaged archive ({error})") from None


def _members(
    archive: tarfile.TarFile, suffixes: tuple[str, ...], left_out: Callable[[str, str], None]
) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        # tarfile keeps every member it has met; a stream never goes back to them.
        archive.members = []  # type: ignore[attr-defined]
        if not member.isreg() or not _is_wanted(member.name, suffixes):
            continue
        if member.size > MAX_FILE_BYTES:
            left_out(member.name, f"larger than {MAX_FILE_BYTES >> 20} MiB")
            continue
        file = archive.extractfile(member)
        if file is not None:
            yield member.name, file.read()
