"""``hmeg export``: networks as files for other runtimes; one module a sub-command."""

from __future__ import annotations

import click

from hmeg.cli.lazy import LazyGroup

# sub-command -> (module, one-line help)
COMMANDS: dict[str, tuple[str, str]] = {
    "onnx": ("hmeg.cli.export.onnx", "One ONNX file of standard operators."),
    "aoti": ("hmeg.cli.export.aoti", "The decoder as compiled code for this machine (.pt2, AOTInductor)."),
    "tensorrt": ("hmeg.cli.export.tensorrt", "The decoder as an engine for this GPU (.engine, TensorRT)."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Write a model's networks to a file that other runtimes read."""
