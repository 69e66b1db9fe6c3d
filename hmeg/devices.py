"""The device that a name means, for generation and training alike."""

from __future__ import annotations

import torch


def select_device(device: str | torch.device) -> torch.device:
    """The torch device of a name; "auto" is the GPU where there is one. ``ValueError`` for one that is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"no device is called {device!r}; use auto, cpu or cuda") from None
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {str(device)!r}")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(device)!r} is not there: torch {torch.__version__} sees {torch.cuda.device_count()} GPUs"
        )
    return chosen
