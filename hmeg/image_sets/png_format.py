"""What formats of PNG images have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from . import encoding
from .format import Format


class PngFormat(Format):
    """Images are PNG, named by the samples' indices; files are told apart by their names alone."""

    own: ClassVar[re.Pattern[str]]  # names of our files, whole or partial

    @property
    def encode(self) -> Callable[[np.ndarray], bytes]:
        return encoding.png

    def image_name(self, index: int) -> str:
        return f"{index:06d}.png"

    def is_own(self, name: str) -> bool:
        return self.own.fullmatch(name) is not None
