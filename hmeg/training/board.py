"""TensorBoard: scalars and pictures of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


def open_board(folder: Path, step: int) -> Any:
    """A SummaryWriter that goes on after ``step``; ValueError, saying what to install, where tensorboard is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(f"--tensorboard needs a package: pip install 'hmeg[tensorboard]' ({error})") from error
    return SummaryWriter(str(folder), purge_step=step + 1)


def add_scalars(board: Any, group: str, step: int, values: Mapping[str, float]) -> None:
    """``group/name`` of every value."""
    for name, value in values.items():
        board.add_scalar(f"{group}/{name}", value, step)


def add_pictures(board: Any, step: int, pictures: Mapping[str, Tensor]) -> None:
    """Pictures (C, H, W) in [0, 1]."""
    for name, picture in pictures.items():
        board.add_image(name, picture, step)
