"""``hmeg data``: prepare training data."""

from __future__ import annotations

from pathlib import Path

import click

from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import Number, Output

_GO_ON = "the same command goes on where this one stopped"


@click.group()
def command() -> None:
    """Prepare training data from handwriting archives."""


@command.command(short_help="Render InkML to images, boxes and graphs.")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", required=True, type=Output(file_okay=False, path_type=Path), help="Folder to write the data set to."
)
@click.option("--size", default=256, show_default=True, type=click.IntRange(32, 4096), help="Image side in pixels.")
@click.option("--stroke-width", default=2.5, show_default=True, type=Number(0.25), help="In pixels.")
@click.option("--margin", default=6.0, show_default=True, type=Number(0), help="Free border in pixels.")
@click.option(
    "--symbol-side",
    default=80.0,
    show_default=True,
    type=Number(1),
    help="The median symbol is at most this many pixels wide or high: short formulas do not fill the image.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
def crohme(
    source: Path,
    out: Path,
    size: int,
    stroke_width: float,
    margin: float,
    symbol_side: float,
    workers: int | None,
) -> None:
    """Render InkML (a file, folder or tar archive) to images with symbol boxes and graphs.

    \b
    OUT/images/NAME.png   8-bit grey, black ink on white, aspect kept, centred
    OUT/graphs.jsonl      latex, symbols, relations, boxes (x0 y0 x1 y1 in [0, 1]) of every expression
    OUT/refused.jsonl     files that could not be used, with the reason
    OUT/dataset.json      how the set was made

    Stopped and called again with the same arguments, it goes on where it was.
    """
    from concurrent.futures import BrokenExecutor

    from tqdm import tqdm

    from hmeg.data.crohme import RenderSettings, prepare

    with (
        errors_in_words(out, interrupted=f"interrupted; {_GO_ON}"),
        tqdm(unit="file", desc="rendering") as bar,
    ):
        try:
            report = prepare(source, out, RenderSettings(size, stroke_width, margin, symbol_side), workers, bar.update)
        except BrokenExecutor:
            raise click.ClickException(f"a worker process was killed, perhaps for lack of memory; {_GO_ON}") from None
    found = f" ({report.reused} of them from an earlier run)" if report.reused else ""
    click.echo(f"{report.written} expressions in {out}{found}, {report.refused} files refused")
    if report.refused:
        click.echo(f"reasons: {out / 'refused.jsonl'}")
    if not report.written:
        raise click.ClickException(f"{source}: no usable InkML expression found")
