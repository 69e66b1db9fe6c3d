"""``hmeg train``: layout and image training, and packing of the results into one weights file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from torch import OutOfMemoryError

from hmeg.backends import BackendError
from hmeg.training.image_trainer import ImageTrainer, ImageTrainingConfig
from hmeg.training.layout_trainer import LayoutTrainer, LayoutTrainingConfig
from hmeg.training.loop import LoopConfig

_CHOICES = {"model": ("base", "small"), "precision": ("fp32", "bf16"), "pixel_loss": ("l1", "l2")}


def _numbers(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(",") if part)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of numbers such as 64,128,256") from None


def _config_options(config: type[LoopConfig]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds one option for every field of a configuration."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        for entry in reversed(fields(config)):
            default: Any = entry.default
            keywords: dict[str, Any] = {"type": type(default)}
            if entry.name in _CHOICES:
                keywords = {"type": click.Choice(_CHOICES[entry.name])}
            elif isinstance(default, tuple):
                default = ",".join(str(v) for v in default)
                keywords = {"callback": _numbers, "metavar": "N,N,..."}
            flag = "--" + entry.name.replace("_", "-")
            text = entry.metadata["help"]
            keywords.update(default=default, show_default=True, help=text)
            function = click.option(flag, entry.name, **keywords)(function)
        return function

    return add


def _run(trainer: Callable[[], ImageTrainer | LayoutTrainer], out: Path) -> None:
    try:
        trainer().train()
    except OutOfMemoryError as error:
        raise click.ClickException("out of memory; try a smaller --batch-size") from error
    except (ValueError, OSError, FloatingPointError, BackendError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise click.ClickException(f"interrupted; add --resume to go on from the last checkpoint in {out}") from None


_data = click.option(
    "--data", required=True, type=click.Path(exists=True, path_type=Path), help="Folder made by `hmeg data crohme`."
)
_out = click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
_resume = click.option("--resume", is_flag=True, help="Go on with the run that is in --out.")


@click.group()
def command() -> None:
    """Train the layout generator or the image model, then pack both into one weights file."""


@command.command(short_help="Train graph -> boxes.")
@_data
@_out
@_resume
@_config_options(LayoutTrainingConfig)
def layout(data: Path, out: Path, resume: bool, **settings: Any) -> None:
    """Train graph -> boxes against the layout discriminator (Less-is-More)."""
    _run(lambda: LayoutTrainer(data, out, LayoutTrainingConfig(**settings), resume), out)


@command.command(short_help="Train graph and boxes -> image.")
@_data
@_out
@_resume
@_config_options(ImageTrainingConfig)
def image(data: Path, out: Path, resume: bool, **settings: Any) -> None:
    """Train graph and boxes -> image against patch and object discriminators."""
    _run(lambda: ImageTrainer(data, out, ImageTrainingConfig(**settings), resume), out)


@command.command(short_help="Two runs -> one weights file.")
@click.option("--layout", "layout_run", required=True, type=click.Path(exists=True, path_type=Path), help="Layout run.")
@click.option("--image", "image_run", required=True, type=click.Path(exists=True, path_type=Path), help="Image run.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Weights file (.safetensors).")
@click.option("--licence", default="", help="Licence of the weights, kept in the file.")
def pack(layout_run: Path, image_run: Path, out: Path, licence: str) -> None:
    """Join the averaged weights of a layout run and an image run in one float16 weights file."""
    from hmeg.training.pack import pack_runs

    try:
        model = pack_runs(layout_run, image_run, out, licence)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out}: {sum(p.numel() for p in model.parameters()):,} parameters, {out.stat().st_size / 1e6:.1f} MB")


@command.command(short_help="How many drawn symbols can be read.")
@click.option("--weights", required=True, help="Name of bundled weights, or a weights file.")
@click.option(
    "--train",
    "train_data",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Prepared training set: the symbols that the reader knows.",
)
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path), help="Prepared validation set.")
@click.option("--limit", type=click.IntRange(1), help="Look at the first expressions only.")
def measure(weights: str, train_data: Path, data: Path, limit: int | None) -> None:
    """Draw a validation set and report how many symbols can be read, and how far boxes and pixels are off (JSON)."""
    import json
    from dataclasses import asdict

    from hmeg.data.crohme import CrohmeDataset
    from hmeg.evaluation.legibility import measure as measure_legibility
    from hmeg.generation import load

    try:
        validation = CrohmeDataset(data)
        validation.graphs, validation.names = validation.graphs[:limit], validation.names[:limit]
        found = measure_legibility(load(weights), CrohmeDataset(train_data), validation)
    except (ValueError, OSError, BackendError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps({k: round(v, 4) for k, v in asdict(found).items()}, indent=1))
