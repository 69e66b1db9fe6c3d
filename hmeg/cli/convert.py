"""``hmeg convert``: a finished run in another form."""

from __future__ import annotations

from pathlib import Path

import click

from hmeg.cli.errors import described
from hmeg.cli.parameters import Output
from hmeg.quoting import quoted

_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(["coco", "yolo", "parquet", "webdataset", "folder", "can", "comer"]),
    help="The form to write: what `hmeg generate --format` writes by that name.",
)
@click.option(
    "--out",
    required=True,
    type=Output(file_okay=False, path_type=Path),
    help="Folder to write to; made if missing.",
)
@click.option("--split", metavar="NAME", help="What these samples are called there.  [default: as in RUN]")
@click.option(
    "--shard-size",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Indices a shard covers.  [default: 256 for folder, coco and yolo, else 1000]",
)
@click.option("--overwrite", is_flag=True, help="Remove the samples of an earlier run from --out first.")
def command(run: Path, form: str, out: Path, split: str | None, shard_size: int | None, overwrite: bool) -> None:
    """Write a finished run of `hmeg generate` again in another form. RUN is its folder, and stays as it is.

    \b
    --to coco          OUT/train/000000.png, ..., OUT/annotations/instances_train.json: one category a symbol
    --to yolo          OUT/images/train/000000.png, ..., OUT/labels/train/000000.txt, ..., OUT/data.yaml
    --to parquet       OUT/train-000000.parquet, ...    for Hugging Face's datasets (pip install 'hmeg[parquet]')
    --to webdataset    OUT/000000.tar, ...              png, json and txt of every sample
    --to folder        OUT/000000.png, ...              one image a sample
    --to can           OUT/train_images.pkl, OUT/train_labels.txt, OUT/words_dict.txt
    --to comer         OUT/data.zip, OUT/dictionary.txt

    OUT becomes a run in turn, with labels, rejections, contact sheet, manifest and report: the one that `hmeg generate`
    would have drawn in that form. Images keep their pixels (can and comer are grey).

    Samples are read and written one after the other, so memory does not grow with the run. Stopped, the same command
    goes on after the last finished shard. If OUT holds another run, nothing is done unless --overwrite is given.
    """
    if split is not None and not (split.replace("_", "a").replace("-", "a").isalnum() and split.isascii()):
        raise click.UsageError(f"--split may have letters, digits, _ and -, not {quoted(split)}")

    from tqdm import tqdm

    from hmeg.generation.convert import convert, converted_settings, finished_run

    try:
        manifest = finished_run(run)
        settings = converted_settings(manifest, form, split, shard_size)
        with tqdm(total=manifest.samples, unit=" images", desc="converting", bar_format=_BAR) as bar:
            written = convert(run, out, settings, overwrite, bar.update)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(described(error, out)) from error
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; the same command goes on after the last finished shard") from None
    click.echo(f"{written} image{'s' * (written != 1)} in {out}, as {form}")
