"""The native extension, and its entry points prepared for calls."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import NoReturn

from ..base import BackendError
from .entry import EntryPoint


def native_extension() -> tuple[ModuleType | None, str]:
    """``hmeg._C``, or None and why it cannot be imported."""
    try:
        return importlib.import_module("hmeg._C"), ""
    except ImportError as error:
        return None, f"the native extension hmeg._C cannot be imported ({error}); build it with `pip install .`"


@cache
def entry_points(device: str) -> dict[str, EntryPoint]:
    """All entry points of the extension for ``cpu`` or ``cuda``, by name; none where it was built without them."""
    extension, _ = native_extension()
    described = getattr(extension, "entries", {}).get(device, {})
    return {name: EntryPoint(name, *parts) for name, parts in described.items()}


def missing(name: str) -> NoReturn:
    """Says that the extension is older than what calls it."""
    raise BackendError(
        f"the native extension has no {name}: it was built from earlier sources; build it again with "
        "`pip install .` or `python setup.py build_ext --inplace`"
    )
