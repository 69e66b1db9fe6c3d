"""Losses and measurements of runs as a picture: one panel a quantity, one line a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmeg.files import write_atomically

from .loop import LOSSES, MEASURES

SUFFIXES = (".png", ".svg", ".pdf")
_COLUMNS = 3
_SMOOTHED_OVER = 25  # logged steps

Curve = tuple[np.ndarray, np.ndarray]  # steps, values


def read_log(path: Path) -> dict[str, Curve]:
    """Name -> (steps, values) of a run's log; empty if there is none.

    What is not finite stays, as a gap in the line. A last line cut short by a kill is left out; ValueError, naming the
    line, for any other that is no record.
    """
    if not path.exists():
        return {}
    found: dict[str, list[tuple[int, float]]] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break
        try:
            record = json.loads(line)
            step = int(record.pop("step"))
            values = {name: float(value) for name, value in record.items() if name != "seconds"}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}, is no record of a step: {line[:60].strip()}") from error
        for name, value in values.items():
            found.setdefault(name, []).append((step, value))
    return {name: (np.array([s for s, _ in rows]), np.array([v for _, v in rows])) for name, rows in found.items()}


def smoothed(values: np.ndarray) -> np.ndarray:
    """Means over up to 25 neighbouring values, fewer at the ends; the same length. Values not finite do not count."""
    half = min(_SMOOTHED_OVER, len(values)) // 2
    finite = np.isfinite(values)
    sums, counts = (np.concatenate([[0.0], np.cumsum(part)]) for part in (np.where(finite, values, 0), finite))
    rows = np.arange(len(values))
    first, last = np.maximum(rows - half, 0), np.minimum(rows + half + 1, len(values))
    count = counts[last] - counts[first]
    return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan)


def draw_curves(runs: Sequence[Path], out: Path, names: Iterable[str] = ()) -> list[str]:
    """Draws the logs of ``runs`` to ``out`` (.png, .svg or .pdf, by its name), atomically; returns what was drawn.

    names  only these losses and measurements; empty: all but gradient norms
    Losses are shown pale as logged and strong as running means, measurements on a validation set as dots.
    ValueError for a folder without logs, for a name that no run has, and for another kind of picture;
    ModuleNotFoundError, naming the extra, without matplotlib.
    """
    if out.suffix not in SUFFIXES:
        raise ValueError(f"--out must end in {', '.join(SUFFIXES)}, got {out.name!r}")
    logs = {run: (read_log(run / LOSSES), read_log(run / MEASURES)) for run in runs}
    for run, (losses, measures) in logs.items():
        if not losses and not measures:
            raise ValueError(f"{run} holds no {LOSSES} or {MEASURES}: not the folder of a run, or not a step is logged")
    there = list(dict.fromkeys(name for log in logs.values() for part in log for name in part))
    wanted = list(names) or [name for name in there if not name.endswith("gradient")]
    if unknown := [name for name in wanted if name not in there]:
        raise ValueError(f"no run has {', '.join(unknown)}; there are {', '.join(there)}")
    figure = _figure(logs, wanted)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda path: figure.savefig(path, format=out.suffix[1:]))
    return wanted


def _figure(logs: dict[Path, tuple[dict[str, Curve], dict[str, Curve]]], names: Sequence[str]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("curves need matplotlib: pip install 'hmeg[evaluate]'") from error

    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.4 * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, name in zip(panels, names, strict=False):
        for number, (run, (losses, measures)) in enumerate(logs.items()):
            colour = f"C{number % 10}"
            if name in losses:
                steps, values = losses[name]
                panel.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
                panel.plot(steps, smoothed(values), color=colour, linewidth=1.6, label=run.name)
            if name in measures:
                panel.plot(*measures[name], color=colour, marker="o", markersize=3.5, linewidth=1, label=run.name)
        panel.set_title(name.replace("_", " "), fontsize=10)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
        panel.set_xlabel("step", fontsize=8)
        if len(logs) > 1:
            panel.legend(fontsize=7)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    return figure
