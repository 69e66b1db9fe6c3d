"""Finds the Triton kernels: the package hmeg_kernels, kernels/triton in the repository."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cached_property
from pathlib import Path
from types import ModuleType


def import_kernels() -> ModuleType:
    """hmeg_kernels as installed, or from the repository around this file when run from a bare checkout."""
    if importlib.util.find_spec("hmeg_kernels") is not None:
        return importlib.import_module("hmeg_kernels")
    source = Path(__file__).parents[3] / "kernels" / "triton" / "__init__.py"
    if not source.exists():
        raise ImportError("the package hmeg_kernels is not installed")
    where = [str(source.parent)]
    spec = importlib.util.spec_from_file_location("hmeg_kernels", source, submodule_search_locations=where)
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["hmeg_kernels"] = package
    spec.loader.exec_module(package)
    return package


class Launcher:
    """What every operator of the Triton backend launches through."""

    @cached_property
    def _kernels(self) -> ModuleType | str:
        # Triton is imported when first needed: it is slow to import and many installations have none.
        if importlib.util.find_spec("triton") is None:
            return "Triton is not installed"
        try:
            import_kernels()
            return importlib.import_module("hmeg_kernels.launch")
        except ImportError as error:
            return f"the Triton kernels cannot be imported ({error})"

    @property
    def _launch(self) -> ModuleType:
        assert isinstance(self._kernels, ModuleType)
        return self._kernels
