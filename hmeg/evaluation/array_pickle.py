"""Pickles of arrays that somebody else may have made: nothing but arrays, text and plain containers is built."""

from __future__ import annotations

import os
import pickle
from typing import Any

# What a pickled array names; numpy 2 moved one of them.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),  # how protocol 2 writes bytes
}
# What unpickling of damaged files raises, depending on where the damage is.
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)


class _Refused(Exception):
    """The pickle asks for something that is no array."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Refused(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read_array_pickle(path: str | os.PathLike[str]) -> Any:
    """What a pickle holds, if that is arrays, numbers, text and containers of them.

    A pickle that wants anything else is refused before it can run; damaged files too: ``ValueError`` of one line that
    names the file. ``OSError`` for one that cannot be opened.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        try:
            return _ArrayUnpickler(file).load()
        except _Refused as refused:
            raise ValueError(f"{name}: not a pickle of arrays alone, refused ({refused})") from None
        except _UNREADABLE as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(f"{name}: not a readable pickle ({reason})") from None
