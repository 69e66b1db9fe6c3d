"""What a form of output has to do, shard by shard."""

from __future__ import annotations

import hashlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hmeg.graph import SymbolGraph

from .sample import Sample


class Format(ABC):
    """Writes the samples of a run to a folder, one shard after the other.

    For every shard: :meth:`begin`, :meth:`write` for each sample, then :meth:`commit` or :meth:`abandon`; after the
    last shard :meth:`assemble`. All files of a shard are whole or not there. ``OSError`` when the disk says no; what
    was committed stays.

    default_shard  samples in a shard unless the user says otherwise
    needs  libraries beside those that hmeg always has, and the extra that brings each
    keeps_unfinished  whether samples appear, with their labels, before their shard is finished
    """

    default_shard: ClassVar[int]
    keeps_unfinished: ClassVar[bool] = False
    needs: ClassVar[dict[str, str]] = {}

    def __init__(self, folder: Path, split: str) -> None:
        self.folder = folder
        self.split = split

    @classmethod
    def require(cls) -> None:
        """``ValueError``, saying how to install it, if a library is missing that this form needs."""
        for library, extra in cls.needs.items():
            if importlib.util.find_spec(library) is None:
                raise ValueError(f"this form needs {library}, which is not installed: pip install 'hmeg[{extra}]'")

    @property
    @abstractmethod
    def encode(self) -> Callable[[np.ndarray], Any]:
        """Turns pixels into what :meth:`write` takes: a function by itself, so that worker processes can call it."""

    @abstractmethod
    def image_name(self, index: int) -> str:
        """What a sample's image is called in its label."""

    @staticmethod  # noqa: B027 - most forms write any graph
    def check(graph: SymbolGraph) -> None:
        """``ValueError``, saying why, for an expression that this form of output has no label for."""

    @abstractmethod
    def begin(self, number: int) -> None:
        """Start shard ``number``."""

    @abstractmethod
    def write(self, sample: Sample, label: dict[str, Any], encoded: Any) -> None:
        """Add a sample to the shard: its label and what :attr:`encode` made of its pixels."""

    @abstractmethod
    def commit(self) -> dict[str, str]:
        """Make the shard appear; returns the sha256 digest of each of its files by name (none for an empty shard)."""

    @abstractmethod
    def abandon(self) -> None:
        """Drop what was not committed."""

    def assemble(self, shards: list[int]) -> list[Path]:
        """Make what needs all shards, given those that are not empty; returns the new files.

        May be repeated after an interruption.
        """
        return []

    def superfluous(self, shards: list[int]) -> list[Path]:
        """Files of those shards that are not needed any more after :meth:`assemble`."""
        return []

    def count(self) -> int | None:
        """How many images the folder holds, where each is a file of its own; None elsewhere."""
        return None

    def folders(self) -> list[Path]:
        """Folders of ours in the run's folder, the deepest first."""
        return []

    def own_files(self) -> list[Path]:
        """Files in the run's folder and in :meth:`folders` that :meth:`is_own` takes for ours, in order."""
        below = (folder for folder in self.folders() if folder.is_dir() and not folder.is_symlink())
        there = (path for place in dict.fromkeys([self.folder, *below]) for path in place.iterdir())
        return sorted(path for path in there if self.is_own(path.relative_to(self.folder).as_posix()))

    @abstractmethod
    def is_own(self, name: str) -> bool:
        """Whether a file may be one of ours, whole or partial: its name, or path, as seen from the run's folder."""


def digest_of(path: Path) -> str:
    """sha256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
