"""Calls the C++ kernels in csrc/cpu: as many threads as torch.get_num_threads()."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from ..pointers import entry_point, native_extension

BEST_VARIANT = -1


class Launcher:
    """What every operator of the CPU backend launches through.

    variant  position in build_info()["cpu_variants"] of the instruction set to use; the best one by default
    """

    def __init__(self, variant: int = BEST_VARIANT) -> None:
        self._extension, self._reason = native_extension()
        self._variant = variant

    @property
    def _entries(self) -> ModuleType:
        entries: ModuleType = self._extension.cpu  # type: ignore[union-attr]
        return entries

    def _run(self, entry: str, *arguments: float) -> None:
        entry_point(self._entries, entry)(*arguments, torch.get_num_threads(), self._variant)

    def _workspace(self, entry: str, *arguments: int) -> Tensor:
        """Memory that the kernel of an entry point asks for; ``<entry>_workspace`` tells how much."""
        size = entry_point(self._entries, f"{entry}_workspace")
        return torch.empty(size(*arguments, torch.get_num_threads()), dtype=torch.uint8)
