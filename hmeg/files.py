"""Files that are whole at any moment: written at once or not at all, or appended to by whole records."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

PART = ".part"


def partial(path: Path) -> Path:
    """Where a file is written before it appears at ``path``."""
    return path.with_name(path.name + PART)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file all at once or not at all."""
    part = partial(path)
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


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
            raise ValueError(f"{path} has {there} bytes, fewer than the {length} that were finished; was it changed?")
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
