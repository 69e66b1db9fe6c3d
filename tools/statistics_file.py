"""How the package's statistics are written: few, long lines, since nobody reads or edits them by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_statistics(path: Path, statistics: Mapping[str, Any]) -> None:
    """Writes JSON with a line for each entry of ``statistics``, and for each entry of those that hold objects."""
    path.write_text(_object(statistics, depth=2) + "\n", encoding="utf-8")


def _object(value: Any, depth: int) -> str:
    if depth == 0 or not isinstance(value, Mapping) or not any(isinstance(part, Mapping) for part in value.values()):
        return json.dumps(value, separators=(",", ":"))
    lines = [f"{json.dumps(key)}:{_object(part, depth - 1)}" for key, part in value.items()]
    return "{\n" + ",\n".join(lines) + "\n}"
