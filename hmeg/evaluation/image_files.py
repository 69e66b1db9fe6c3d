"""Images and archives from anywhere, read within limits and with errors that name the place."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

_LARGEST_SIDE = 8192
_FORMATS = ("PNG", "BMP", "JPEG")


def decode(data: bytes, place: str) -> np.ndarray:
    """(H, W) uint8 of an image file's bytes, colours made grey.

    ``ValueError``, beginning with ``place``, for what is no PNG, BMP or JPEG, is damaged, or has more than 8,192 pixels
    on a side.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if max(image.size) > _LARGEST_SIDE:
                    raise ValueError(f"{place}: {image.width} x {image.height} pixels are more than is read here")
                return np.asarray(image.convert("L"))
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{place} is no readable image ({error})") from None


def width_of(data: bytes, place: str) -> int:
    """Pixels of a row, from the file's head alone; errors as :func:`decode` has them."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return int(image.width)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{place} is no readable image ({error})") from None


def sample_and_suffix(member: str) -> tuple[str, str]:
    """A WebDataset member's sample and suffix, split at the first dot of its last part: "a/b", ".png" of "a/b.png"."""
    folder, slash, base = member.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return folder + slash + stem, dot + suffix
