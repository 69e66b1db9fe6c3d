"""WebDataset shards: tar files whose members are grouped by the name before the dot."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

from hmeg import files

from .format import digest_of
from .png_format import PngFormat
from .sample import Sample

_OWN = re.compile(r"\d{6,20}\.tar(\.part)?")


class WebDatasetFormat(PngFormat):
    """``000000.tar``, ...: for every sample ``<index>.png``, ``.json`` (its label) and ``.txt`` (its LaTeX)."""

    default_shard = 1000

    def begin(self, number: int) -> None:
        self._path = self._shard(number)
        self._tar: tarfile.TarFile | None = None

    def write(self, sample: Sample, label: dict[str, Any], encoded: bytes) -> None:
        if self._tar is None:
            self._tar = tarfile.open(files.partial(self._path), "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        text = sample.latex or ""
        for suffix, content in (("png", encoded), ("json", json.dumps(label).encode()), ("txt", text.encode())):
            member = tarfile.TarInfo(f"{sample.index:06d}.{suffix}")  # no time, no owner: same samples, same bytes
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))

    def commit(self) -> dict[str, str]:
        if self._tar is None:
            return {}
        self._tar.close()
        digest = digest_of(files.partial(self._path))
        os.replace(files.partial(self._path), self._path)
        return {self._path.name: digest}

    def abandon(self) -> None:
        if self._tar is not None:
            with contextlib.suppress(OSError):  # what is buffered may not fit on the disk
                self._tar.fileobj.close()  # the archive's close() would write its end too
        files.partial(self._path).unlink(missing_ok=True)

    def is_own(self, name: str) -> bool:
        return _OWN.fullmatch(name) is not None

    def _shard(self, number: int) -> Path:
        return self.folder / f"{number:06d}.tar"
