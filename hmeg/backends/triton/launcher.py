"""Finds the Triton kernels, kernels/triton in the repository, and launches them on the device of their tensors."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

# Where setup.py installs them.
PACKAGE = "hmeg.backends.triton.kernels"


def import_kernels() -> ModuleType:
    """The package as installed here, or from the repository around this file: from nowhere else, though an editable
    installation of another tree may offer it too."""
    source = Path(__file__).parents[3] / "kernels" / "triton" / "__init__.py"
    if PACKAGE in sys.modules or (Path(__file__).parent / "kernels").is_dir() or not source.exists():
        return importlib.import_module(PACKAGE)
    where = [str(source.parent)]
    spec = importlib.util.spec_from_file_location(PACKAGE, source, submodule_search_locations=where)
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return package


class Kernels:
    """A module of kernels; its functions launch them with the tensors' device as the current one.

    Triton launches on the current device whatever it is given.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self._module, name)

        def launch(*arguments: Any) -> Any:
            with device_of(arguments):
                return function(*arguments)

        setattr(self, name, launch)
        return launch


@cache
def _kernels(module: str) -> Kernels:
    import_kernels()
    return Kernels(importlib.import_module(f"{PACKAGE}.{module}"))


class Launcher:
    """What every operator of the Triton backend launches through."""

    # Triton is imported when first needed: it is slow to import and many installations have none.
    @cached_property
    def _missing(self) -> str:
        """Why there are no kernels, or nothing."""
        if importlib.util.find_spec("triton") is None:
            return "Triton is not installed"
        try:
            _kernels("runtime")
        except ImportError as error:
            return f"the Triton kernels cannot be imported ({error})"
        return ""

    def _kernels(self, module: str) -> Kernels:
        """A module of kernels/triton by its name."""
        return _kernels(module)


def device_of(arguments: tuple[Any, ...]) -> AbstractContextManager[Any]:
    """Makes the device of the first tensor among the arguments the current one, where it is a GPU and is not."""
    for argument in arguments:
        if isinstance(argument, Tensor):
            if argument.is_cuda and argument.device.index != torch.cuda.current_device():
                return torch.cuda.device(argument.device)
            break
    return nullcontext()
