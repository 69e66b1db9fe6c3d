"""CAN's pickles of images, read without running anything that is in them."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np


class _Byte:
    """Stands for the dtype uint8; numpy's own state of it is not needed."""

    def __init__(self, name: object, *more: object) -> None:
        if name not in ("u1", "|u1", "uint8", b"u1"):
            raise pickle.UnpicklingError(f"an array of {name!r} instead of uint8")

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """Stands for an array until its state is known."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _pixels(data, dtype, shape, "F" if fortran else "C")


def _pixels(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, _Byte):
        raise pickle.UnpicklingError("an array of something else than uint8")
    if isinstance(data, str):  # written by Python 2
        data = data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)):  # of a number, bytes() would make as many zeros
        raise pickle.UnpicklingError("an array without bytes")
    pixels = np.frombuffer(bytes(data), np.uint8)
    return pixels.reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(*arguments: object) -> _Array:
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.value = _pixels(data, dtype, shape, order)
    return array


def _encode(text: str, encoding: str) -> bytes:
    """How protocols before 3 write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text encoded as {encoding!r}")
    return text.encode("latin1")


# Everything a pickle of arrays names, and what stands in for it here: not even numpy's own code is called.
_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Byte,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _ImagesOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _STAND_INS[module, name]


_DAMAGE = (
    pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError,
    MemoryError, RecursionError, struct.error,
)  # fmt: skip


def read_images(path: Path) -> dict[str, np.ndarray]:
    """name -> (H, W) uint8 of a pickle that holds such a dict. ``ValueError``, naming the file, for any other."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    return images_of(data, path)


def images_of(data: bytes, path: Path) -> dict[str, np.ndarray]:
    """The same of the bytes of a pickle; ``path`` is what messages call it."""
    try:
        found = _ImagesOnly(io.BytesIO(data), encoding="latin1").load()
    except _DAMAGE as error:
        raise ValueError(f"{path} is refused: not a pickle of grey images ({error or type(error).__name__})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a dict of name -> image, got {type(found).__name__}")
    images = {}
    for name, array in found.items():
        value = array.value if isinstance(array, _Array) else None
        if not isinstance(name, str) or value is None or value.ndim != 2 or not value.size:
            raise ValueError(f"{path}: {name!r} is no grey image (H, W) of uint8")
        images[name] = value
    return images
