"""``hmeg train``: layout and image training, packing of the results into one weights file, and recognisers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from shlex import quote
from typing import Any

import click

from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import Output, Word, output_file, temperature_option
from hmeg.quoting import quoted
from hmeg.recognition.settings import CanTrainingConfig
from hmeg.training.settings import (
    ClassifierTrainingConfig,
    ImageTrainingConfig,
    JointTrainingConfig,
    LayoutTrainingConfig,
    LoopConfig,
    option,
    resolve,
)


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        return tuple(int(part) for part in value.split(",") if part)
    except ValueError:
        raise click.BadParameter(f"{quoted(value)} is no list of numbers such as 64,128,256") from None


_PREPARED: dict[str, Any] = {
    "type": click.Path(exists=True, path_type=Path),
    "required": True,
    "help": "Folder made by `hmeg data crohme`.",
}
_LABELLED: dict[str, Any] = {
    "multiple": True,
    "required": True,
    "metavar": "DATA",
    "help": "Labelled images; may be given several times, or joined by commas.",
}


def _trainer_options(
    config: type[LoopConfig], data: dict[str, Any] = _PREPARED
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of a trainer: where things are, then one option for every field of its configuration.

    data  what --data is
    What is not given is None: then the configuration file decides, or else the field's default.
    """
    folder = Output(file_okay=False, path_type=Path)

    def add(function: Callable[..., None]) -> Callable[..., None]:
        for entry in reversed(fields(config)):
            default: Any = entry.default
            keywords: dict[str, Any] = {"type": type(default)}
            flags, shown = option(entry.name), str(default)
            if entry.metadata["choices"]:
                keywords["type"] = Word(entry.metadata["choices"])
            elif isinstance(default, bool):
                flags += "/--no-" + entry.name.replace("_", "-")
                shown = flags.split("/")[0 if default else 1][2:]
                keywords = {}
            elif isinstance(default, tuple):
                shown = ",".join(str(v) for v in default)
                keywords = {"callback": _numbers, "metavar": "N,N,..."}
            text = entry.metadata["help"] + (f"  [default: {shown}]" if shown else "")
            function = click.option(flags, entry.name, default=None, help=text, **keywords)(function)
        places: list[tuple[str, dict[str, Any]]] = (
            [
                ("--data", data),
                ("--out", {"type": folder, "required": True, "help": "Folder of the run."}),
                ("--config", {"type": click.Path(exists=True, dir_okay=False, path_type=Path),
                              "help": "YAML file of settings (name: value); options given here come first."}),
                ("--resume", {"is_flag": True, "help": "Go on with the run that is in --out."}),
            ]
        )  # fmt: skip
        for flag, keywords in reversed(places):
            function = click.option(flag, **keywords)(function)
        return function

    return add


def _run(
    trainer_of: Callable[..., Any],
    config: type[LoopConfig],
    data: Path | tuple[str, ...],
    out: Path,
    file: Path | None,
    resume: bool,
    given: dict[str, Any],
    then: str,
) -> None:
    """Resolves the settings, makes the trainer, trains; in the end says ``then``, the command to go on with."""
    with errors_in_words(
        out,
        interrupted=f"interrupted; add --resume to go on from the last checkpoint in {out}",
        stopped="add --resume to go on",
    ):
        settings = resolve(config, file, {name: value for name, value in given.items() if value is not None})
        trainer = trainer_of(data, out, settings, resume)
        trainer.train()
    if trainer.run.processes.leads:
        click.echo(f"{out}: {trainer.run.step:,} step{'s' * (trainer.run.step != 1)} done; next: hmeg {then}")


@click.group()
def command() -> None:
    """Train the layout generator or the image model, then pack both into one weights file; train recognisers.

    A run that gets SIGTERM or SIGINT (Ctrl-C) finishes its step, writes a checkpoint and exits with status 75; the same
    command with --resume goes on as if nothing had happened. A second signal ends it at once.
    """


@command.command(short_help="Train graph -> boxes.")
@_trainer_options(LayoutTrainingConfig)
def layout(data: Path, out: Path, config: Path | None, resume: bool, **settings: Any) -> None:
    """Train graph -> boxes against the layout discriminator (Less-is-More)."""
    from hmeg.training.layout_trainer import LayoutTrainer

    next_command = f"train pack --layout {quote(str(out))} --image IMAGE_RUN --out WEIGHTS.safetensors"
    _run(LayoutTrainer, LayoutTrainingConfig, data, out, config, resume, settings, next_command)


@command.command(short_help="Train graph and boxes -> image.")
@_trainer_options(ImageTrainingConfig)
def image(data: Path, out: Path, config: Path | None, resume: bool, **settings: Any) -> None:
    """Train graph and boxes -> image against patch and object discriminators."""
    from hmeg.training.image_trainer import ImageTrainer

    next_command = f"train pack --layout LAYOUT_RUN --image {quote(str(out))} --out WEIGHTS.safetensors"
    _run(ImageTrainer, ImageTrainingConfig, data, out, config, resume, settings, next_command)


@command.command(short_help="Train graph -> boxes -> image in one go.")
@_trainer_options(JointTrainingConfig)
def joint(data: Path, out: Path, config: Path | None, resume: bool, **settings: Any) -> None:
    """Train both networks at once: images are drawn at generated boxes, and their losses reach the layout generator."""
    from hmeg.training.joint_trainer import JointTrainer

    next_command = f"train pack --joint {quote(str(out))} --out WEIGHTS.safetensors"
    _run(JointTrainer, JointTrainingConfig, data, out, config, resume, settings, next_command)


@command.command(short_help="Train the reader of symbols that measures images.")
@_trainer_options(ClassifierTrainingConfig)
def classifier(data: Path, out: Path, config: Path | None, resume: bool, **settings: Any) -> None:
    """Train the small classifier of symbols by which generated images are measured."""
    from hmeg.training.classifier_trainer import ClassifierTrainer

    next_command = f"train pack --classifier {quote(str(out))} --out SYMBOLS.safetensors"
    _run(ClassifierTrainer, ClassifierTrainingConfig, data, out, config, resume, settings, next_command)


@command.command(short_help="Train the recogniser CAN.")
@_trainer_options(CanTrainingConfig, _LABELLED)
def can(data: tuple[str, ...], out: Path, config: Path | None, resume: bool, **settings: Any) -> None:
    """Train CAN to read images of handwriting, real or generated, into LaTeX tokens.

    \b
    DATA is any of
      a folder written by hmeg generate in any --format
      WebDataset shards: a .tar, or a folder of them
      CAN's own <split>_images.pkl with <split>_labels.txt beside it
      a CoMER archive (.zip); of several splits one: data.zip/data/train
      a folder made by hmeg data crohme

    \b
    OUT/last.pt  the weights at the end, for `hmeg evaluate recognition`
    OUT/best.pt  with --validation: those that read the most of it without an error
    """
    from hmeg.recognition.trainer import CanTrainer

    next_command = f"evaluate recognition --checkpoint {quote(str(out))} --data DATA"
    _run(CanTrainer, CanTrainingConfig, data, out, config, resume, settings, next_command)


_run_folder = click.Path(exists=True, file_okay=False, path_type=Path)


@command.command(short_help="Finished runs -> one weights file.")
@click.option("--layout", metavar="RUN|WEIGHTS", help="Layout run, or weights whose layout part to take; with --image.")
@click.option("--image", metavar="RUN|WEIGHTS", help="Image run, or weights whose image part to take; with --layout.")
@click.option("--joint", "joint_run", type=_run_folder, help="Joint run.")
@click.option("--classifier", "classifier_run", type=_run_folder, help="Run of the symbol classifier.")
@output_file("Weights file (.safetensors).")
@click.option("--licence", default="", help="Licence of the weights, kept in the file.")
@click.option(
    "--white-paper/--paper-as-trained",
    default=True,
    show_default=True,
    help="Shift images so that their background is white: training leaves it a little grey.",
)
@temperature_option(
    "Of layouts, from now on: what 1 means to `hmeg generate --temperature`, as a factor of what was trained."
)
def pack(
    layout: str | None,
    image: str | None,
    joint_run: Path | None,
    classifier_run: Path | None,
    out: Path,
    licence: str,
    white_paper: bool,
    temperature: float,
) -> None:
    """Write averaged weights to one float16 file: of a layout and an image run, of a joint run, or of a classifier.

    Of finished weights, a file or the name of bundled ones, --layout and --image take a part as it is.
    """
    from torch import nn

    from hmeg.training.pack import pack_classifier_run, pack_joint_run, pack_runs

    model: nn.Module
    with errors_in_words(out):
        match (layout, image, joint_run, classifier_run):
            case (str(), str(), None, None):
                model = pack_runs(layout, image, out, licence, white_paper, temperature)
            case (None, None, Path(), None):
                model = pack_joint_run(joint_run, out, licence, white_paper, temperature)
            case (None, None, None, Path()):
                if temperature != 1:
                    raise click.UsageError("--temperature is for layouts; --classifier packs none")
                model = pack_classifier_run(classifier_run, out, licence)
            case _:
                raise click.UsageError("give --layout and --image, or --joint, or --classifier")
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
@temperature_option("How much layouts vary, as for `hmeg generate`.")
def measure(weights: str, train_data: Path, data: Path, limit: int | None, temperature: float) -> None:
    """Draw a validation set and report how many symbols can be read, and how far boxes and pixels are off (JSON)."""
    import json
    from dataclasses import asdict

    from hmeg.data.crohme import CrohmeDataset
    from hmeg.evaluation.legibility import measure as measure_legibility
    from hmeg.generation import load

    with errors_in_words(data):
        validation = CrohmeDataset(data)
        validation.graphs, validation.names = validation.graphs[:limit], validation.names[:limit]
        found = measure_legibility(load(weights), CrohmeDataset(train_data), validation, temperature=temperature)
    click.echo(json.dumps({k: round(v, 4) for k, v in asdict(found).items()}, indent=1))


@command.command(short_help="Losses of runs as a picture.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=_run_folder)
@output_file("Picture to write: .png, .svg or .pdf.")
@click.option("--only", multiple=True, metavar="NAME", help="Draw this loss or measurement; may be given repeatedly.")
def curves(runs: tuple[Path, ...], out: Path, only: tuple[str, ...]) -> None:
    """Draw what runs have logged: a panel for every loss and measurement, a line for every run.

    Needs matplotlib: pip install 'hmeg[evaluate]'.
    """
    from hmeg.training.curves import draw_curves

    with errors_in_words(out, also=(ModuleNotFoundError,)):
        drawn = draw_curves(runs, out, only)
    click.echo(f"{out}: {', '.join(drawn)}")
