"""``hmeg evaluate``: measures of images, of layouts and of recognition; one module a sub-command."""

from __future__ import annotations

import click

from hmeg.cli.lazy import LazyGroup

# sub-command -> (module, one-line help)
COMMANDS: dict[str, tuple[str, str]] = {
    "images": ("hmeg.cli.evaluate.images", "Generated images beside real ones: Fréchet, SWD, geometry, SSIM, FID."),
    "layout": ("hmeg.cli.evaluate.layout", "Generated boxes against real ones: IoU, overlaps, relations that hold."),
    "legibility": (
        "hmeg.cli.evaluate.legibility",
        "Which symbols can be read, by length of the expression and height.",
    ),
    "recognition": ("hmeg.cli.evaluate.recognition", "What a trained CAN reads of labelled images: ExpRate, counting."),
    "study": ("hmeg.cli.evaluate.study", "Do generated images help a recogniser? Trains and compares."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Measure generated images, layouts, and what recognisers learn from them.

    Commands with the same --out folder share one report there: report.html for people, metrics.json for programs.
    """
