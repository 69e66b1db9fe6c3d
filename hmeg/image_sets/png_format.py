"""What formats of PNG images have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import encoding
from .format import Format


class PngFormat(Format):
    """Images are PNG, named by the samples' indices."""

    @property
    def encode(self) -> Callable[[np.ndarray], bytes]:
        return encoding.png

    def image_name(self, index: int) -> str:
        return f"{index:06d}.png"
