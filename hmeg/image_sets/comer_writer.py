"""What CoMER (Zhao and Gao, ECCV 2022) and BTTR train on: one zip archive, and a dictionary.

The archive holds ``data/<split>/caption.txt``, lines of ``name token token ...``, and ``data/<split>/img/<name>.bmp``,
grey with light ink on dark paper (batches are padded with 0, which is paper). The dictionary has one token a line;
CoMER adds its own padding, start and end.
"""

from __future__ import annotations

import contextlib
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hmeg import files
from hmeg.graph import SymbolGraph

from . import encoding
from .format import Format, digest_of
from .sample import Sample
from .tokens import TOKENS, caption, check_caption

ARCHIVE, DICTIONARY = "data.zip", "dictionary.txt"
_OWN = re.compile(r"(\d{6,20}|data)\.zip(\.part)?")


class ComerFormat(Format):
    """``data.zip`` and ``dictionary.txt``. Until the run is finished, shard n is an archive ``n.zip`` of that form."""

    default_shard = 1000

    @property
    def encode(self) -> Callable[[np.ndarray], bytes]:
        return encoding.light_on_dark_bmp

    def image_name(self, index: int) -> str:
        return f"{index:06d}"

    @staticmethod
    def check(graph: SymbolGraph) -> None:
        check_caption(graph)

    def begin(self, number: int) -> None:
        self._path = self._shard(number)
        self._zip: zipfile.ZipFile | None = None
        self._captions: list[str] = []

    def write(self, sample: Sample, label: dict[str, Any], encoded: bytes) -> None:
        name = self.image_name(sample.index)
        self._captions.append(caption(name, sample))
        if self._zip is None:
            self._zip = zipfile.ZipFile(files.partial(self._path), "w")
        _add(self._zip, self._image(name), encoded)

    def commit(self) -> dict[str, str]:
        if self._zip is None:
            return {}
        _add(self._zip, self._caption, "".join(self._captions).encode("ascii"))
        self._zip.close()
        digest = digest_of(files.partial(self._path))
        os.replace(files.partial(self._path), self._path)
        return {self._path.name: digest}

    def abandon(self) -> None:
        if self._zip is not None:
            _drop(self._zip)
        files.partial(self._path).unlink(missing_ok=True)

    def superfluous(self, shards: list[int]) -> list[Path]:
        return [self._shard(number) for number in shards]

    def assemble(self, shards: list[int]) -> list[Path]:
        archive, words = self.folder / ARCHIVE, self.folder / DICTIONARY
        joined = zipfile.ZipFile(files.partial(archive), "w")
        try:
            for number in shards:
                with zipfile.ZipFile(self._shard(number)) as shard:
                    for name in shard.namelist():
                        if name != self._caption:
                            _add(joined, name, shard.read(name))
            with joined.open(_member(self._caption), "w", force_zip64=True) as captions:
                for number in shards:
                    with zipfile.ZipFile(self._shard(number)) as shard:
                        captions.write(shard.read(self._caption))
            joined.close()
        except BaseException:
            _drop(joined)
            files.partial(archive).unlink(missing_ok=True)
            raise
        os.replace(files.partial(archive), archive)
        files.write_whole(words, "".join(f"{token}\n" for token in TOKENS).encode("ascii"))
        return [archive, words]

    def is_own(self, name: str) -> bool:
        return name == DICTIONARY or _OWN.fullmatch(name) is not None

    @property
    def _caption(self) -> str:
        return f"data/{self.split}/caption.txt"

    def _image(self, name: str) -> str:
        return f"data/{self.split}/img/{name}.bmp"

    def _shard(self, number: int) -> Path:
        return self.folder / f"{number:06d}.zip"


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(_member(name), content, zipfile.ZIP_DEFLATED, compresslevel=1)


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)  # the date is 1980: same samples, same bytes
    member.external_attr = 0o644 << 16
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


def _drop(archive: zipfile.ZipFile) -> None:
    """Lets go of an archive that is not finished, also where what is left cannot be written."""
    with contextlib.suppress(OSError):
        archive.close()
