"""What numbers come from besides hmeg itself."""

from __future__ import annotations

import importlib.metadata
import platform

from hmeg import __version__

_LIBRARIES = ("torch", "torchmetrics", "gudhi", "scipy", "numpy", "pillow", "matplotlib")


def versions() -> dict[str, str]:
    """Versions of hmeg, Python and those libraries of measures that are installed, by name."""
    found = {"hmeg": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # reading with a CAN needs none of the extra ones
    return found
