"""A run's checkpoints: written whole or not at all, the last few kept."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hmeg.files import write_atomically
from hmeg.model.safe_pickle import read_pickle

_NAME = re.compile(r"checkpoint-(\d{8,})\.pt")


def in_one_line(error: Exception, limit: int = 240) -> str:
    """An error's text on one line: torch lists every tensor that does not fit."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[:limit] + "..."


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints in a run's folder, the latest last."""
    found = [path for path in run.iterdir() if _NAME.fullmatch(path.name)] if run.is_dir() else []
    return sorted(found, key=lambda path: int(path.stem.split("-")[1]))


def load_checkpoint(run: Path) -> Mapping[str, Any]:
    """The latest checkpoint of a run's folder, on the CPU; ValueError if there is none or it is damaged."""
    found = checkpoints(run)
    if not found:
        raise ValueError(f"{run} holds no checkpoint (checkpoint-*.pt) of hmeg train")
    path = found[-1]
    hint = f"; remove it to go on from {found[-2].name}" if len(found) > 1 else ""
    try:
        state = read_pickle(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}{hint}") from error
    except ValueError as error:
        raise ValueError(f"{error}{hint}") from error
    if not {"step", "objects"} <= state.keys():
        raise ValueError(f"{path} is no checkpoint of hmeg train{hint}")
    return state


def save_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """``torch.save`` to a file that is whole or not there; ``OSError``, naming it, when the disk says no."""

    def write(part: Path) -> None:
        try:
            torch.save(dict(state), part)
        except RuntimeError as error:  # all that torch's writer of archives says of a full disk
            why = f"it cannot be written; is the disk full? ({in_one_line(error, 80)})"
            raise OSError(errno.EIO, why, str(path)) from error

    write_atomically(path, write)


def save_checkpoint(run: Path, step: int, state: Mapping[str, Any], keep: int) -> None:
    """Writes the checkpoint of a step, then removes all but the last ``keep``."""
    save_tensors(run / f"checkpoint-{step:08d}.pt", state)
    for old in checkpoints(run)[:-keep]:
        old.unlink()
