"""A folder of PNG files, named by the samples' indices, with what Hugging Face's ``imagefolder`` reads."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from hmeg import files
from hmeg.files import PART

from .folder_reader import LABELS
from .png_format import PngFormat
from .sample import Sample

_IMAGE = re.compile(r"\d{6,20}\.png(\.part)?")
METADATA = "metadata.jsonl"


class FolderFormat(PngFormat):
    """Images appear one by one, each whole. A shard's digest is that of its images' bytes, one after the other.

    When the run is finished, ``metadata.jsonl`` repeats the labels with ``file_name`` in place of ``image``: by that
    name ``imagefolder`` finds images and labels, and leaves the contact sheet alone.
    """

    default_shard = 256
    keeps_unfinished = True

    @property
    def place(self) -> str:
        """Where images are in the run's folder: "" or a folder with a slash behind it."""
        return ""

    def image_name(self, index: int) -> str:
        return f"{self.place}{super().image_name(index)}"

    def begin(self, number: int) -> None:
        for folder in self.folders():
            folder.mkdir(parents=True, exist_ok=True)
        self._digest = hashlib.sha256()
        self._count = 0

    def write(self, sample: Sample, label: dict[str, Any], encoded: bytes) -> None:
        files.write_whole(self.folder / self.image_name(sample.index), encoded)
        self._digest.update(encoded)
        self._count += 1

    def commit(self) -> dict[str, str]:
        return {"images": self._digest.hexdigest()} if self._count else {}

    def abandon(self) -> None:
        """Nothing is dropped: every image that is there is whole and has its label."""

    def assemble(self, shards: list[int]) -> list[Path]:
        metadata = self.folder / METADATA
        files.write_atomically(metadata, self._write_metadata)
        return [metadata]

    def _write_metadata(self, path: Path) -> None:
        with (self.folder / LABELS).open("rb") as labels, path.open("wb") as metadata:
            for line in labels:
                label = json.loads(line)
                metadata.write((json.dumps({"file_name": label.pop("image"), **label}) + "\n").encode())

    def count(self) -> int:
        names = (path.relative_to(self.folder).as_posix() for path in self.own_files())
        return sum(1 for name in names if self._is_image(name) and not name.endswith(PART))

    def is_own(self, name: str) -> bool:
        return name.removesuffix(PART) == METADATA or self._is_image(name)

    def _is_image(self, name: str) -> bool:
        return name.startswith(self.place) and _IMAGE.fullmatch(name.removeprefix(self.place)) is not None
