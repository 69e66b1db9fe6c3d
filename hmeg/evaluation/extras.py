"""The libraries that measures need and the package itself does not."""

from __future__ import annotations

import importlib.util

_NEEDED = ("torchmetrics", "gudhi", "scipy", "matplotlib")


def require_libraries() -> None:
    """``ValueError`` that says how to install what is missing, if something is."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} not installed: pip install 'hmeg[evaluate]'")
