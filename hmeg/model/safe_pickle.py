"""Reading checkpoints that somebody else may have made: no code of theirs runs, every damage has a name."""

from __future__ import annotations

import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import torch

from .file_kinds import foreign_kind, kind_of_zip

_MOST_SHOWN = 160  # characters of torch's own words
_PROTOCOL_4 = "Unsupported operand 149"  # FRAME: its first opcode


def read_pickle(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """A checkpoint written by ``torch.save``: a dict of tensors and plain containers, tensors on the CPU.

    A pickle that wants anything else is refused before it can run; damaged files and those of other kinds too:
    ``ValueError`` of one line that names the file. ``OSError`` for one that cannot be opened.
    """
    name = os.fspath(path)
    # Opened here, so that a file that is missing or forbidden says so itself.
    with open(path, "rb") as file:
        return _unpickle(file, name)


# What is raised for damaged files, depending on where the damage is.
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
    kind = foreign_kind(file.read(512)) or _foreign_zip(file)
    if kind:
        raise ValueError(f"{name}: not a readable PyTorch checkpoint ({kind})")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # what cannot be read is an error below
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{name}: not a checkpoint of tensors and plain containers, refused ({_offence(str(error))})"
        ) from None
    except _UNREADABLE as error:
        raise ValueError(f"{name}: not a readable PyTorch checkpoint ({_damage(error)})") from None
    if not isinstance(checkpoint, Mapping):
        raise ValueError(f"{name}: the checkpoint must be a dict, got {type(checkpoint).__name__}")
    return checkpoint


def _foreign_zip(file: BinaryIO) -> str | None:
    """What a zip archive is, if torch.save did not write it; None, too, for what is no archive or a damaged one."""
    try:
        with zipfile.ZipFile(file) as archive:
            return kind_of_zip(archive.namelist())
    except (zipfile.BadZipFile, *_UNREADABLE):
        return None  # torch says what is wrong


def _offence(text: str) -> str:
    """What torch's weights-only unpickler did not like, without its advice to switch the protection off."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    if _PROTOCOL_4 in text:
        return "its pickle is of protocol 4 or later; save it again with torch.save's default, 2"
    if asked := re.search(r"GLOBAL (\S+)", text):
        return f"it asks for {asked.group(1)}"
    offender = re.search(r"(?:Unsupported|Can only|Trying to)[^\n]*", text)
    return _short(offender.group(0)) if offender else "its pickle is damaged"


def _damage(error: Exception) -> str:
    if "PytorchStreamReader" in str(error):
        return "its archive is damaged, or breaks off"
    told = isinstance(error, RuntimeError) and str(error)  # others say nothing but a key, or a name inside torch
    return _short(str(error).splitlines()[0]) if told else "its pickle is damaged"


def _short(words: str) -> str:
    return words if len(words) <= _MOST_SHOWN else words[:_MOST_SHOWN].rstrip() + "..."
