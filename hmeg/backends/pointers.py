"""Tensors as native code sees them: dtype codes (csrc/dtype.h holds the same table) and addresses."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from .base import BackendError

DTYPE_CODES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The type kernels sum in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def entry_point(entries: ModuleType, name: str) -> Callable[..., Any]:
    """A function of ``hmeg._C.cpu`` or ``.cuda``; BackendError where the extension is older than what calls it."""
    function: Callable[..., Any] | None = getattr(entries, name, None)
    if function is None:
        raise BackendError(
            f"the native extension has no {name}: it was built from earlier sources; build it again with "
            "`pip install .` or `python setup.py build_ext --inplace`"
        )
    return function


def native_extension() -> tuple[ModuleType | None, str]:
    """``hmeg._C``, or None and why it cannot be imported."""
    try:
        return importlib.import_module("hmeg._C"), ""
    except ImportError as error:
        return None, f"the native extension hmeg._C cannot be imported ({error}); build it with `pip install .`"
