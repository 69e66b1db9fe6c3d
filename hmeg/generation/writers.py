"""Writes samples to a folder, so that whatever is in it is whole at any moment."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any

from .contact_sheet import MAX_SAMPLES, contact_sheet
from .sample import Sample

LABELS = "labels.jsonl"
REJECTED = "rejected.jsonl"
CONTACT_SHEET = "contact_sheet.png"

_IMAGE_NAME = re.compile(r"\d{6,20}\.png(\.part)?")


class FolderWriter:
    """A folder of PNG files with labels.

        000000.png, ...    one image a sample, named by its index
        labels.jsonl       one object a sample, in the order drawn; only of images that are there
        rejected.jsonl     one object a line that could not be used: line, text, reason
        contact_sheet.png  the first samples on a page, written by :meth:`close`

    An image appears whole or not at all, and its label after it. A folder that holds samples of an earlier run is
    refused with ``FileExistsError`` unless ``overwrite``, which removes that run first and nothing else. Files of other
    names are never touched. Use as a context manager. ``OSError`` when the disk says no: what was written stays valid.
    """

    def __init__(self, folder: str | os.PathLike[str], overwrite: bool = False) -> None:
        self.folder = Path(folder)
        self.written = 0
        self.rejected = 0
        self._sheet: list[Sample] = []
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is a file, not a folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear(overwrite)
        self._labels = _JsonLines(self.folder / LABELS)
        self._rejections = _JsonLines(self.folder / REJECTED)

    def __enter__(self) -> FolderWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except OSError:
            # The disk refuses the contact sheet as well; the error under way says more.
            if not isinstance(error, OSError):
                raise

    def write(self, sample: Sample) -> str:
        """Write one sample; returns the image's file name."""
        name = f"{sample.index:06d}.png"
        path = self.folder / name
        encoded = io.BytesIO()
        sample.image.save(encoded, format="PNG")
        _write_whole(path, encoded.getvalue())
        try:
            self._labels.append({"image": name, **sample.label()})
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self.written += 1
        if len(self._sheet) < MAX_SAMPLES:
            self._sheet.append(sample)
        return name

    def reject(self, line: int, text: str, reason: str) -> None:
        """Record an input that could not be used: its line number from 1, itself, and why."""
        self._rejections.append({"line": line, "text": text, "reason": reason})
        self.rejected += 1

    def close(self) -> None:
        """Write the contact sheet, if there is a sample, and close the files. Closing again does nothing."""
        self._labels.close()
        self._rejections.close()
        if self._sheet:
            encoded = io.BytesIO()
            contact_sheet(self._sheet).save(encoded, format="PNG")
            self._sheet = []
            _write_whole(self.folder / CONTACT_SHEET, encoded.getvalue())

    def _clear(self, overwrite: bool) -> None:
        labels = self.folder / LABELS
        images = [path for path in self.folder.iterdir() if _IMAGE_NAME.fullmatch(path.name)]
        others = [path for path in (self.folder / CONTACT_SHEET, self.folder / REJECTED) if path.exists()]
        if (images or others) and not labels.is_file():
            raise FileExistsError(
                f"{self.folder} holds {(images + others)[0].name}, but no {LABELS}: it is no folder of hmeg's; "
                "choose another"
            )
        if (images or (labels.is_file() and labels.stat().st_size)) and not overwrite:
            raise FileExistsError(
                f"{self.folder} holds an earlier run of {len(images)} images; choose another folder, or replace that "
                "run with --overwrite"
            )
        # labels.jsonl goes last: as long as an image is left, it says whose they are
        for path in (*images, *others, labels):
            path.unlink(missing_ok=True)


class _JsonLines:
    """A file of JSON objects, one a line, that never keeps half a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by close()
        self._length = 0

    def append(self, value: dict[str, Any]) -> None:
        line = (json.dumps(value) + "\n").encode("ascii")
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
        except BaseException:
            self._file.truncate(self._length)
            self._file.seek(self._length)
            raise
        self._length += len(line)

    def close(self) -> None:
        self._file.close()


def _write_whole(path: Path, content: bytes) -> None:
    """Writes a file all at once or not at all."""
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
