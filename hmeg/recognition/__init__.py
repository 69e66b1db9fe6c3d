"""CAN, the counting-aware recogniser (Li et al., ECCV 2022): images of handwritten mathematics -> LaTeX tokens.

recogniser = hmeg.recognition.load("runs/can")        # a run, or a checkpoint of the authors'
recogniser.recognise(images)[0].tokens

checkpoint = train_can(["crohme/train", "generated"], "runs/can", CanTrainingConfig(epochs=10))
evaluate_recognition(checkpoint, "crohme/validation")["exprate"]
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "CAN": "model",
    "CanConfig": "config",
    "CanTrainingConfig": "settings",
    "Preparation": "preparation",
    "Recogniser": "recogniser",
    "Words": "words",
    "evaluate_recognition": "evaluate",
    "load": "checkpoint",
    "open_data": "data",
    "train_can": "trainer",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    # Looked up when asked for: the settings are read by `hmeg train --help`, which should not wait for torch.
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
