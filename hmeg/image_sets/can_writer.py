"""What CAN (Li et al., ECCV 2022) trains on: a pickle of images, a text of labels, a dictionary.

CAN loads one pickle, a dict of name -> (H, W) uint8 array with dark ink on light paper; a file of lines
``name token token ...``, as many as there are images; and a dictionary of one token a line, where the line's number is
the token's id, ``eos`` 0 and ``sos`` 1. It has 111 lines, ``^ _ { }`` the last: CAN's code knows these by number.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hmeg import files
from hmeg.graph import SymbolGraph

from . import encoding
from .format import Format, digest_of
from .sample import Sample
from .tokens import can_dictionary, caption, check_caption

DICTIONARY = "words_dict.txt"
_OWN = re.compile(r"\d{6,20}\.(images|labels)(\.part)?")
_PROTOCOL = 3  # the last one whose pickles are not cut into frames of known length
_EMPTY_DICT = pickle.PROTO + bytes([_PROTOCOL]) + pickle.EMPTY_DICT
# numpy 2 pickles arrays under a name that numpy before 1.26 does not have; all know the old one.
_NEW_NAME, _OLD_NAME = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"


class CanFormat(Format):
    """``<split>_images.pkl``, ``<split>_labels.txt`` and ``words_dict.txt``.

    Until the run is finished, shard n is ``n.images`` and ``n.labels``; the pickle is put together from them item by
    item, so that it is never in memory as a whole.
    """

    default_shard = 1000

    @property
    def encode(self) -> Callable[[np.ndarray], np.ndarray]:
        return encoding.grey

    def image_name(self, index: int) -> str:
        return f"{index:06d}"

    @staticmethod
    def check(graph: SymbolGraph) -> None:
        check_caption(graph)

    def begin(self, number: int) -> None:
        self._images, self._labels = self._files(number)
        self._file: BinaryIO | None = None
        self._captions: list[str] = []

    def write(self, sample: Sample, label: dict[str, Any], encoded: np.ndarray) -> None:
        name = self.image_name(sample.index)
        self._captions.append(caption(name, sample))
        if self._file is None:
            self._file = open(files.partial(self._images), "wb")  # noqa: SIM115 - closed by commit or abandon
        self._file.write(_item(name, encoded))

    def commit(self) -> dict[str, str]:
        if self._file is None:
            return {}
        self._file.close()
        files.write_whole(self._labels, "".join(self._captions).encode("ascii"))
        os.replace(files.partial(self._images), self._images)
        return {path.name: digest_of(path) for path in (self._images, self._labels)}

    def abandon(self) -> None:
        if self._file is not None:
            _drop(self._file)
        for path in (self._images, self._labels):
            files.partial(path).unlink(missing_ok=True)

    def _files(self, number: int) -> list[Path]:
        return [self.folder / f"{number:06d}.images", self.folder / f"{number:06d}.labels"]

    def assemble(self, shards: list[int]) -> list[Path]:
        images, labels, words = (self.folder / name for name in self._final)
        parts = [self._files(number) for number in shards]
        for target, before, pieces, after in (
            (images, _EMPTY_DICT, [part[0] for part in parts], pickle.STOP),
            (labels, b"", [part[1] for part in parts], b""),
        ):
            _join(target, before, pieces, after)
        files.write_whole(words, "".join(f"{token}\n" for token in can_dictionary()).encode("ascii"))
        return [images, labels, words]

    def superfluous(self, shards: list[int]) -> list[Path]:
        return [path for number in shards for path in self._files(number)]

    def is_own(self, name: str) -> bool:
        return name.removesuffix(files.PART) in self._final or _OWN.fullmatch(name) is not None

    @property
    def _final(self) -> tuple[str, str, str]:
        return f"{self.split}_images.pkl", f"{self.split}_labels.txt", DICTIONARY


def _item(name: str, array: np.ndarray) -> bytes:
    """The pickle instructions that put one image into the dict on the stack."""
    return _body(name) + _body(np.ascontiguousarray(array)).replace(_NEW_NAME, _OLD_NAME, 1) + pickle.SETITEM


def _body(value: object) -> bytes:
    content = io.BytesIO()
    pickler = pickle.Pickler(content, protocol=_PROTOCOL)
    pickler.fast = True  # no references to objects before: every piece stands for itself
    pickler.dump(value)
    return content.getvalue()[2:-1]  # without the protocol's mark and the stop


def _drop(file: BinaryIO) -> None:
    """Closes a file whose content does not matter any more, also where what is buffered cannot be written."""
    with contextlib.suppress(OSError):
        file.close()


def _join(target: Path, before: bytes, pieces: list[Path], after: bytes) -> None:
    part = files.partial(target)
    try:
        with part.open("wb") as joined:
            joined.write(before)
            for piece in pieces:
                with piece.open("rb") as file:
                    while block := file.read(1 << 20):
                        joined.write(block)
            joined.write(after)
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
