"""Hugging Face's `datasets`, kept from the network and from the cache of whoever runs the tests."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def load_dataset(cache: Path, kind: str, **options: Any) -> Any:
    """``datasets.load_dataset(kind, split="train", ...)`` with a cache of its own."""
    os.environ.update(OFFLINE)  # read when the library is imported
    datasets = importlib.import_module("datasets")
    return datasets.load_dataset(kind, split=options.pop("split", "train"), cache_dir=str(cache), **options)
