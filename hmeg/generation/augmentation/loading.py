"""Loads what varies images, which needs an extra."""

from __future__ import annotations

from types import ModuleType


def varying() -> ModuleType:
    """:mod:`hmeg.generation.augmentation.vary`, which needs an extra; ``ValueError`` where that is not installed."""
    try:
        from . import vary
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--augment needs {error.name}, which is not installed: pip install 'hmeg[augment]'"
        ) from error
    return vary
