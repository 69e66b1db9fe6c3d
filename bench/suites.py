"""The suites and groups that ``python -m bench`` runs. The suite ``x`` is the file ``bench_x.py``."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

GROUPS = {
    "raster": "boxes to soft masks to layouts, and crops of images",
}


@dataclass(frozen=True)
class Suite:
    """What a suite measures, and the group that runs it with others of its kind (None: it runs alone)."""

    measures: str
    group: str | None = None


SUITES = {
    "train": Suite("one optimisation step of layout (batch 64) and image training (base, batch 4)"),
    "generate": Suite("LaTeX to files, images a second, and the front end alone, beside the published way"),
    "recognise": Suite("images read by CAN, many at once beside one at a time as published"),
    "export": Suite("the decoder by torch and by runtimes of exported files, small and base, batches of 1 and 8"),
    "box_soft_mask": Suite("the fixed soft mask of a box", "raster"),
    "compose_layout": Suite("masks times features, summed per expression", "raster"),
    "box_layout": Suite("fixed soft masks times features, summed per expression", "raster"),
    "refine_masks": Suite("the learned soft mask of a box, 64 hidden channels", "raster"),
    "refine_layout": Suite("learned soft masks composed to layouts of 128 channels without being stored", "raster"),
    "crop_boxes": Suite("crops of 32 x 32 out of images of 256 x 256", "raster"),
    "normal_noise": Suite("image noise of eight samples, of base and of small, beside numpy's streams and torch.randn"),
    "message": Suite("five graph convolutions, and the read-out of expressions by attention"),
}


def _found() -> None:
    """Adds the files that are not named above, each with the first line of its docstring."""
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or path.name
        SUITES.setdefault(path.stem.removeprefix("bench_"), Suite(docstring.partition("\n")[0]))


_found()


def file_of(suite: str) -> str:
    return f"bench_{suite}.py"


def suites_of(name: str) -> list[str]:
    """A suite by its own name, or all suites of a group; empty for a name that is neither."""
    if name in SUITES:
        return [name]
    return [suite for suite, about in SUITES.items() if about.group == name]
