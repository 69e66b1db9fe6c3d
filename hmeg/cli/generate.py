"""``hmeg generate``: expressions in, a folder of labelled images out."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, cast

import click
from tqdm import tqdm

if TYPE_CHECKING:
    from hmeg.generation.inputs import Entry
    from hmeg.generation.sample import Sample
    from hmeg.generation.writers import FolderWriter

_SHOWN_REJECTIONS = 5
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"  # always images/s, never s/image


@click.command()
@click.option("--latex", "texts", multiple=True, metavar="TEXT", help="An expression; may be given many times.")
@click.option(
    "--input",
    "input_path",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A UTF-8 text file with one LaTeX expression a line, or - for standard input; blank lines are skipped.",
)
@click.option(
    "--random",
    "random_count",
    type=click.IntRange(1),
    metavar="N",
    help="N random expressions with CROHME's statistics.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to; made if missing.")
@click.option(
    "--weights",
    default="small",
    show_default=True,
    metavar="NAME|PATH",
    help="Bundled, or a .safetensors file.",
)
@click.option("--count", default=1, show_default=True, type=click.IntRange(1), metavar="K", help="Samples each.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**64 - 1), metavar="S", help="Seed of all noise."
)
@click.option(
    "--size",
    default=256,
    show_default=True,
    type=click.IntRange(1),
    metavar="PIXELS",
    help="Side of the images. 64, 128 and 256 are drawn natively, other sizes up to 256 scaled down.",
)
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="auto: the GPU if there is one."
)
@click.option(
    "--batch-size",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Samples computed together on a GPU; the CPU computes one at a time.",
)
@click.option("--overwrite", is_flag=True, help="Remove the samples of an earlier run from --out first.")
def command(
    texts: tuple[str, ...],
    input_path: Path | None,
    random_count: int | None,
    out: Path,
    weights: str,
    count: int,
    seed: int,
    size: int,
    device: str,
    batch_size: int,
    overwrite: bool,
) -> None:
    """Draw handwritten images of expressions, with labels.

    Expressions come from one of --latex, --input and --random.

    \b
    OUT/000000.png, ...    one image a sample, named by the sample's index
    OUT/labels.jsonl       one object a sample: image, latex, symbols, boxes (pixels: x0 y0 x1 y1),
                           relations (subject, object, name), seed, index, weights;
                           line as well for samples from --input
    OUT/rejected.jsonl     expressions that cannot be used: line, text, reason
    OUT/contact_sheet.png  the first 64 samples on one page

    Sample k of expression e (both from 0; rejected expressions count, blank lines do not) has index e * K + k. What
    it looks like depends on weights, expression, seed, index and size only.

    If OUT holds samples of an earlier run, nothing is done unless --overwrite is given; two runs are never mixed. Files
    of other names stay untouched. Interrupted or out of disk space, everything written so far is valid and labelled.
    """
    given = {"--latex": bool(texts), "--input": input_path is not None, "--random": random_count is not None}
    if sum(given.values()) != 1:
        chosen = " and ".join(name for name, is_given in given.items() if is_given)
        raise click.UsageError("give one of --latex, --input and --random" + (f", not {chosen}" if chosen else ""))

    # Only now: these import torch, and `hmeg generate --help` should not wait for it.
    import torch

    from hmeg.backends import BackendError
    from hmeg.generation import inputs
    from hmeg.generation.loading import load
    from hmeg.generation.writers import FolderWriter

    try:
        with contextlib.ExitStack() as stack:
            total: int | None
            if input_path is not None:
                # a pipe can be read only once, so nobody knows how much will come
                total = inputs.count_expressions(input_path) if input_path.is_file() else None
                file = stack.enter_context(click.open_file(str(input_path), "rb"))
                entries = inputs.from_file(cast("BinaryIO", file))
            elif random_count is not None:
                total, entries = random_count, inputs.from_grammar(random_count, seed)
            else:
                total, entries = len(texts), inputs.from_arguments(texts)
            if total == 0:
                raise click.ClickException(f"{input_path} holds no expression")
            generator = load(weights, device)
            generator.check(size, batch_size)  # before anything is overwritten
            writer = stack.enter_context(FolderWriter(out, overwrite))
            with _Progress(writer, total, count) as progress:
                tasks = inputs.tasks(entries, count, progress.reject)
                for sample in generator.stream(tasks, seed, size, batch_size):
                    progress.write(sample)
    except torch.OutOfMemoryError as error:
        raise click.ClickException(f"out of memory on {generator.device}; try a smaller --batch-size") from error
    except OSError as error:
        raise click.ClickException(_described(error, out)) from error
    except (ValueError, BackendError) as error:
        raise click.ClickException(str(error)) from error


class _Progress:
    """Passes samples and rejections on to the folder and tells people about them."""

    def __init__(self, writer: FolderWriter, expressions: int | None, count: int) -> None:
        self._writer = writer
        self._count = count
        total = None if expressions is None else expressions * count
        self._bar = tqdm(total=total, unit=" images", desc="drawing", bar_format=_BAR)

    def write(self, sample: Sample) -> None:
        self._writer.write(sample)
        self._bar.update()

    def reject(self, entry: Entry, reason: str) -> None:
        self._writer.reject(entry.line, entry.text, reason)
        if self._bar.total is not None:
            self._bar.total -= self._count
        if self._writer.rejected <= _SHOWN_REJECTIONS:
            what = "line" if entry.from_file else "expression"
            self._bar.write(f"rejected {what} {entry.line}: {reason}", file=sys.stderr)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
        written, rejected, folder = self._writer.written, self._writer.rejected, self._writer.folder
        if written:
            seconds = self._bar.format_dict["elapsed"]
            click.echo(f"{_number(written, 'image')} in {folder} ({seconds:.1f} s, {written / seconds:.1f} images/s)")
        if rejected:
            click.echo(f"{_number(rejected, 'expression')} rejected: {folder / 'rejected.jsonl'}", err=True)
        if isinstance(error, KeyboardInterrupt):
            raise click.ClickException("interrupted; every image that was written is complete") from None
        if error is None and not written:
            raise click.ClickException("nothing was drawn: no expression could be used")


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _described(error: OSError, out: Path) -> str:
    """One line with the file; a full disk is noticed while writing to ``out`` and names none."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename or out}: {error.strerror}"
