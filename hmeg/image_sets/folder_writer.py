"""A folder of PNG files, named by the samples' indices."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

from hmeg import files
from hmeg.files import PART

from .png_format import PngFormat
from .sample import Sample


class FolderFormat(PngFormat):
    """Images appear one by one, each whole. A shard's digest is that of its images' bytes, one after the other."""

    default_shard = 256
    own = re.compile(r"\d{6,20}\.png(\.part)?")
    keeps_unfinished = True

    def begin(self, number: int) -> None:
        self._number = number
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

    def count(self) -> int:
        return sum(1 for entry in os.scandir(self.folder) if self.is_own(entry.name) and not entry.name.endswith(PART))
