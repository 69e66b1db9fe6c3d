"""``hmeg evaluate recognition``: what a trained recogniser reads of labelled images."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import Output, device_option, precision_option

from .given import command_line


@click.command()
@click.option(
    "--checkpoint",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Run of `hmeg train can`, or a checkpoint file: its own or one of CAN's authors.",
)
@click.option(
    "--data",
    required=True,
    multiple=True,
    metavar="DATA",
    help="Labelled images; may be given several times, or joined by commas.",
)
@click.option("--out", type=Output(dir_okay=False, path_type=Path), help="Write the scores to this JSON file, too.")
@click.option(
    "--report",
    type=Output(file_okay=False, path_type=Path),
    help="Add the scores to the report of this folder (report.html, metrics.json), as other `hmeg evaluate` do.",
)
@click.option(
    "--name",
    help="With --report: what the section is called.  [default: the names of run and data]",
)
@click.option(
    "--worst",
    "worst_count",
    default=50,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="With --out R.json: the N worst readings in R_worst/worst.jsonl and worst.png.",
)
@click.option(
    "--words",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Dictionary of a checkpoint that holds none, one word a line (the authors' words_dict.txt).",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 4096),
    help="Images at once; 1 reads one at a time.  [default: 8 on the CPU, 64 on a GPU]",
)
@click.option("--limit", default=0, type=click.IntRange(0), metavar="N", help="Read the first N images only.")
@device_option()
@precision_option("bfloat16 is faster where the processor has it; a token here and there may differ.")
def command(
    checkpoint: Path,
    data: tuple[str, ...],
    out: Path | None,
    report: Path | None,
    name: str | None,
    worst_count: int,
    words: Path | None,
    batch_size: int | None,
    limit: int,
    device: str,
    precision: str,
) -> None:
    """Read labelled images with a CAN and compare with their labels.

    \b
    ExpRate     share of expressions whose tokens are all right
    <=1 .. <=3  share with at most that many edits (insert, delete or replace a token)
    counting    mean absolute error, and root of the mean squared error, of the counts of
                every word of the dictionary

    \b
    DATA is any of
      a folder written by hmeg generate in any --format
      WebDataset shards: a .tar, or a folder of them
      CAN's own <split>_images.pkl with <split>_labels.txt beside it
      a CoMER archive (.zip); of several splits one: data.zip/data/train
      a folder made by hmeg data crohme
    """
    from tqdm import tqdm

    from hmeg.evaluation.recognition_report import default_name, notes, recognition_section
    from hmeg.evaluation.sections import check_folder, check_inputs, check_key
    from hmeg.files import check_writable, write_whole
    from hmeg.recognition import evaluate_recognition
    from hmeg.recognition.checkpoint import file_of
    from hmeg.recognition.worst import LINES

    worst = out.with_name(f"{out.stem}_worst") if out is not None and worst_count else None
    stack = ExitStack()
    bar: Any = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            made = tqdm(total=total, unit="image", desc="reading", smoothing=0.05, mininterval=0.5)
            bar = stack.enter_context(made)
        bar.update(done - bar.n)

    into = report or out or checkpoint
    with errors_in_words(into, interrupted="interrupted; files are as they were, or whole"), stack:
        called = name or default_name(checkpoint, data)
        if report is not None:
            # before anything is computed
            check_key(f"recognition {called}")
            check_folder(report)
            if name is None:
                inputs = {"checkpoint": str(checkpoint), "data": list(data)}
                check_inputs(report, f"recognition {called}", inputs)
        file = str(file_of(checkpoint))
        if out is not None:
            check_writable(out)
        if worst is not None:
            check_writable(worst / LINES)
        found = evaluate_recognition(
            checkpoint, data, device, batch_size, precision, words, limit, worst, worst_count, show
        )
        found |= {"file": file, "limit": limit}
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_whole(out, (json.dumps(found, indent=1) + "\n").encode())
        given = command_line(
            "recognition", checkpoint=checkpoint, data=data, name=name, words=words, batch_size=batch_size, limit=limit,
            device=found["device"], precision=precision,
        )  # fmt: skip
        page = None if report is None else recognition_section(found, called, given).save(report)
    click.echo(_table(found))
    for sentence in notes(found):
        click.echo(sentence)
    if worst is not None:
        click.echo(f"scores: {out}; worst readings: {worst}")
    if page is not None:
        click.echo(f"report: {page}")


def _table(found: dict[str, Any]) -> str:
    lines = [f"{found['expressions']} expressions, {found['images_per_second']:.1f} images/s on {found['device']}"]
    for name, text in (("exprate", "ExpRate"), ("within_1", "<=1"), ("within_2", "<=2"), ("within_3", "<=3")):
        lines.append(f"  {text:10} {found[name]:9.2%}")
    lines.append(f"  {'tokens off':10} {found['token_errors']:9.2%}")
    lines.append(f"  {'counting':10} {found['counting_mae']:9.4f} MAE  {found['counting_mse']:.4f} MSE (root)")
    return "\n".join(lines)
