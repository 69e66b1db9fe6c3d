"""Images and archives from anywhere, read within limits and with errors that name the place."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from hmeg.data.sources import MAX_FILE_BYTES

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_LARGEST_SIDE = 8192
_FORMATS = ("PNG", "BMP", "JPEG")
_UNKNOWN = "neither PNG nor JPEG nor BMP, or its beginning is damaged"


@dataclass(frozen=True, slots=True)
class Piece:
    """Where something stands in a file: ``size`` bytes from ``offset`` on."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """``ValueError``, naming the file, if the bytes are not there, or more than an image or a label has."""
        check_bytes(self.size, str(self.path))
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise ValueError(f"{self.path}: {error.strerror or error}") from error
        if len(data) != self.size:
            raise ValueError(f"{self.path}: it breaks off")
        return data


def read_file(path: Path) -> bytes:
    """A file's bytes; ``ValueError``, naming it, if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error


def check_bytes(size: int, place: str) -> None:
    """``ValueError``, beginning with ``place``, for what is larger than any image or label."""
    if not 0 <= size <= MAX_FILE_BYTES:
        raise ValueError(f"{place}: {size:,} bytes are more than any image or list of labels read here")


def is_plain_name(name: object) -> bool:
    """Whether ``name`` is that of a file in a folder, and leads to no other folder."""
    return isinstance(name, str) and Path(name).name == name and name not in ("", ".", "..")


def is_image_name(name: str) -> bool:
    """Whether a file is named as an image; the ``._*`` companions that macOS adds are none."""
    return not PurePosixPath(name).name.startswith("._") and name.lower().endswith(SUFFIXES)


def read_image(path: Path) -> np.ndarray:
    """(H, W) uint8 of a file; errors as :func:`read_file` and :func:`decode` have them."""
    return decode(read_file(path), str(path))


def decode(data: bytes, place: str) -> np.ndarray:
    """(H, W) uint8 of an image file's bytes: colours made grey, 16 bits scaled to 8, what is transparent put on paper.

    Paper is white; for an image that shows nothing but white it is black, or there would be nothing left of it.
    ``ValueError``, beginning with ``place``, for what is no PNG, BMP or JPEG, is damaged, or has more than 8,192 pixels
    on a side.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if max(image.size) > _LARGEST_SIDE:
                    raise ValueError(f"{place}: {image.width} x {image.height} pixels are more than is read here")
                return _grey(image)
    except UnidentifiedImageError:  # its own words name an object in memory
        raise ValueError(f"{place} is no readable image ({_UNKNOWN})") from None
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{place} is no readable image ({error})") from None


def _grey(image: Image.Image) -> np.ndarray:
    """(H, W) uint8, as :func:`decode` says."""
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow's own conversion cuts off what is above 255
        levels = np.asarray(image).astype(np.uint32)
        pixels = ((levels + 128) // 257).astype(np.uint8)
        pixels[levels == image.info.get("transparency")] = 255
        return pixels
    if not image.has_transparency_data:
        return np.asarray(image.convert("L"))
    image = image.convert("RGBA")
    page = _on_paper(image, "white")
    if page.min() == 255 and image.getchannel("A").getextrema() != (0, 0):
        page = _on_paper(image, "black")
    return page


def _on_paper(image: Image.Image, colour: str) -> np.ndarray:
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, colour), image).convert("L"))


def size_of(data: bytes, place: str) -> tuple[int, int]:
    """Width and height in pixels, from the file's head alone; errors as :func:`decode` has them."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return image.size
    except UnidentifiedImageError:
        raise ValueError(f"{place} is no readable image ({_UNKNOWN})") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{place} is no readable image ({error})") from None


def sample_and_suffix(member: str) -> tuple[str, str]:
    """A WebDataset member's sample and suffix, split at the first dot of its last part: "a/b", ".png" of "a/b.png"."""
    folder, slash, base = member.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return folder + slash + stem, dot + suffix
