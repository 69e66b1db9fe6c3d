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

    def matrix_product(self, a: Tensor, b: Tensor, out: Tensor, add: bool, parts: int) -> None:
        """out (M, N), rows of neighbours, = a (M, K) times b (K, N), or that added; see csrc/matrix_product.h."""
        (rows, depth), columns = a.shape, b.shape[1]
        workspace = self._workspace("matrix_product", depth, columns, parts, self._variant)
        self._run("matrix_product", a.data_ptr(), *a.stride(), b.data_ptr(), *b.stride(), out.data_ptr(),
                  out.stride(0), rows, depth, columns, int(add), workspace.data_ptr(), parts)  # fmt: skip
