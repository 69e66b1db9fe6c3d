"""Reading checkpoints that somebody else may have made: no code of theirs runs, every damage has a name."""

from __future__ import annotations

import os
import pickle
import re
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import torch


def read_pickle(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """A checkpoint written by ``torch.save``: a dict of tensors and plain containers, tensors on the CPU.

    A pickle that wants anything else is refused before it can run; damaged files too: ``ValueError`` of one line that
    names the file. ``OSError`` for one that cannot be opened.
    """
    name = os.fspath(path)
    # Opened here, so that a file that is missing or forbidden says so itself.
    with open(path, "rb") as file:
        return _unpickle(file, name)


# What torch.load raises for damaged files, depending on where the damage is.
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def _unpickle(file: BinaryIO, name: str) -> Mapping[str, Any]:
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
        offender = re.search(r"(?:Unsupported|GLOBAL|Can only|Trying to)[^\n]*", reason)
        raise ValueError(
            f"{name}: not a checkpoint of tensors and plain containers, refused"
            f" ({offender.group(0).strip() if offender else reason.splitlines()[0]})"
        ) from None
    except _UNREADABLE as error:
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{name}: not a readable PyTorch checkpoint ({first_line})") from None
    if not isinstance(checkpoint, Mapping):
        raise ValueError(f"{name}: the checkpoint must be a dict, got {type(checkpoint).__name__}")
    return checkpoint
