"""``hmeg generate``: expressions in, labelled images out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, cast

import click
from tqdm import tqdm

from hmeg.canvas import SMALLEST
from hmeg.cli.canvas_options import canvas_of, canvas_options
from hmeg.cli.errors import described
from hmeg.cli.parameters import Number, Output, temperature_option
from hmeg.generation.augmentation.loading import varying
from hmeg.generation.augmentation.plan import NONE, chosen
from hmeg.quoting import quoted

if TYPE_CHECKING:
    from hmeg.generation.inputs import Entry
    from hmeg.generation.run import Run
    from hmeg.image_sets.sample import Sample

_SHOWN_REJECTIONS = 5
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"  # always images/s, never s/image
_LARGEST_BATCH = 4096
_MOST_ACTORS = 100_000


class _NumberOrAuto(click.ParamType):
    """A number from 1 to ``largest``, or ``auto`` (None)."""

    name = "N|auto"

    def __init__(self, largest: int) -> None:
        self._largest = largest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if isinstance(value, int):
            return value
        if not str(value).isdecimal() or not 1 <= int(str(value)) <= self._largest:
            self.fail(f"{quoted(str(value))} is neither a number from 1 to {self._largest} nor auto", param, ctx)
        return int(str(value))


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
@click.option("--out", required=True, type=Output(path_type=Path), help="Folder to write to; made if missing.")
@click.option(
    "--format",
    "file_format",
    default="folder",
    show_default=True,
    type=click.Choice(["folder", "webdataset", "can", "comer"]),
    help="PNG files; WebDataset tar shards; what the recognisers CAN and CoMER train on.",
)
@click.option(
    "--split", default="train", show_default=True, metavar="NAME", help="What can and comer call this set of samples."
)
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
@canvas_options
@temperature_option(
    "How much layouts vary from sample to sample of an expression: 0 not at all, 1 as the weights were packed."
)
@click.option(
    "--augment",
    default="none",
    show_default=True,
    metavar="none|light|paper|camera|FILE",
    help="Vary the images, boxes along (pip install 'hmeg[augment]'): light is slant, scale and weight of strokes, "
    "paper and camera add theirs; or a YAML list of kornia's operations.",
)
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="auto: the GPU if there is one."
)
@click.option(
    "--precision",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "bfloat16"]),
    help="Of the decoder. bfloat16 is faster where the processor has it, and moves some pixels by a few grey levels.",
)
@click.option(
    "--decoder",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw with a decoder of `hmeg export` made from --weights: .onnx, .pt2 (AOTInductor), .engine (TensorRT). The "
    "last two are code: use files you trust only.",
)
@click.option(
    "--runtime",
    type=click.Choice(["torch", "onnx", "aoti", "tensorrt"]),
    help="What draws the images; any but torch needs a --decoder of its kind.  [default: by the suffix of --decoder]",
)
@click.option(
    "--batch-size",
    default="auto",
    show_default=True,
    type=_NumberOrAuto(_LARGEST_BATCH),
    help="Samples computed together on a GPU, auto: as memory allows; the CPU computes one at a time.",
)
@click.option(
    "--cuda-graphs/--no-cuda-graphs",
    default=True,
    show_default=True,
    help="Whether a GPU replays recordings of the decoder, one for each size of batch.",
)
@click.option(
    "--workers",
    type=click.IntRange(0, 256),
    metavar="N",
    help="Processes that encode images beside the networks.  [default: some on a GPU, none on the CPU]",
)
@click.option(
    "--shard-size",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Indices a shard covers: what is lost at most by a crash.  [default: 256 for folder, else 1000]",
)
@click.option(
    "--engine",
    default="local",
    show_default=True,
    type=click.Choice(["local", "ray"]),
    help="Who draws: this process, or actors on the machines of a Ray cluster (pip install 'hmeg[ray]').",
)
@click.option(
    "--ray-address",
    metavar="HOST:PORT|auto",
    help="Head of the Ray cluster; auto: the one this machine is in.  [default: RAY_ADDRESS, else this machine alone]",
)
@click.option(
    "--ray-actors",
    type=_NumberOrAuto(_MOST_ACTORS),
    help="Processes that draw.  [default: auto, as many as the cluster has room for]",
)
@click.option("--cpus-per-actor", type=click.IntRange(1, 1024), metavar="N", help="Threads of each.  [default: 1]")
@click.option(
    "--gpus-per-actor",
    type=Number(0, 64),
    metavar="N",
    help="GPUs of each; 0.5: two share one.  [default: 1 if the cluster has GPUs, else 0]",
)
@click.option("--overwrite", is_flag=True, help="Remove the samples of an earlier run from --out first.")
def command(
    texts: tuple[str, ...],
    input_path: Path | None,
    random_count: int | None,
    out: Path,
    file_format: str,
    split: str,
    weights: str,
    count: int,
    seed: int,
    size: int | None,
    canvas: str,
    symbol_height: float | None,
    max_size: str | None,
    min_symbol_height: float | None,
    margin: int | None,
    temperature: float,
    augment: str,
    device: str,
    precision: str,
    decoder: Path | None,
    runtime: str | None,
    batch_size: int | None,
    cuda_graphs: bool,
    workers: int | None,
    shard_size: int | None,
    engine: str,
    ray_address: str | None,
    ray_actors: int | None,
    cpus_per_actor: int | None,
    gpus_per_actor: float | None,
    overwrite: bool,
) -> None:
    """Draw handwritten images of expressions, with labels.

    Expressions come from one of --latex, --input and --random.

    \b
    --format folder        OUT/000000.png, ...    one image a sample, named by the sample's index
    --format webdataset    OUT/000000.tar, ...    png, json (the label) and txt (LaTeX) of every sample
    --format can           OUT/train_images.pkl, OUT/train_labels.txt, OUT/words_dict.txt
    --format comer         OUT/data.zip, OUT/dictionary.txt

    \b
    OUT/labels.jsonl       one object a sample: image, width, height, latex, tokens, symbols, boxes (pixels:
                           x0 y0 x1 y1), relations (subject, object, name), symlg, ink, seed, index, weights,
                           x_height; line as well for samples from --input, augment with --augment
    OUT/rejected.jsonl     expressions that cannot be used: line, text, reason
    OUT/contact_sheet.png  samples from all of the run on one page, at most 64
    OUT/manifest.json      settings and finished shards
    OUT/timing.jsonl       seconds each shard took
    OUT/report.html        when all is drawn: samples, histograms, rejections, settings, time, files

    Sample k of expression e (both from 0; rejected expressions count, blank lines do not) has index e * K + k. What
    it looks like depends on weights, precision, runtime, expression, seed, index, canvas, --temperature and
    --augment only.

    Stopped, killed or out of disk space, what is finished stays valid; the same command goes on from there and ends
    with the same files as if nothing had happened. If OUT holds a run with other settings, nothing is done unless
    --overwrite is given; two runs are never mixed. Files of other names stay untouched.

    With --engine ray this process reads, writes and keeps order; actors draw. Noise and labels are the same, and a run
    that one engine began may be finished by the other.
    """
    given = {"--latex": bool(texts), "--input": input_path is not None, "--random": random_count is not None}
    if sum(given.values()) != 1:
        chosen = " and ".join(name for name, is_given in given.items() if is_given)
        raise click.UsageError("give one of --latex, --input and --random" + (f", not {chosen}" if chosen else ""))
    if not split.replace("_", "a").replace("-", "a").isalnum() or not split.isascii():
        raise click.UsageError(f"--split may have letters, digits, _ and -, not {quoted(split)}")

    drawn_on = canvas_of(canvas, size, symbol_height, max_size, min_symbol_height, margin)
    _check_runtime(runtime, decoder, weights)
    if engine == "ray":
        _check_for_ray(device, workers, input_path, decoder or weights, gpus_per_actor)
    else:
        _check_for_local(ray_address, ray_actors, cpus_per_actor, gpus_per_actor)

    # Only now: these import torch, and `hmeg generate --help` should not wait for it.
    import torch

    from hmeg.backends import BackendError
    from hmeg.export.errors import Unavailable
    from hmeg.generation import inputs
    from hmeg.generation.engine import WorkerDiedError, default_workers, draw
    from hmeg.generation.loading import load
    from hmeg.generation.manifest import Settings
    from hmeg.generation.ray_engine import cluster as ray_cluster
    from hmeg.generation.ray_engine import drawing as ray_drawing
    from hmeg.generation.run import STANDARD_INPUT, Run
    from hmeg.image_sets.formats import FORMATS
    from hmeg.weights import read_weights

    try:
        with contextlib.ExitStack() as stack:
            total: int | None
            read: Callable[[], Iterator[Entry]]
            if input_path is not None and not input_path.is_file():
                # a pipe can be read only once, so nobody knows how much will come
                total, source = None, STANDARD_INPUT
            elif input_path is not None:
                total, digest = inputs.survey(input_path)
                source = f"a file with sha256 {digest[:16]}"
            elif random_count is not None:
                total, source = random_count, f"{random_count} random expressions"
            else:
                total, source = len(texts), f"arguments with sha256 {_digest(texts)[:16]}"
            if source == STANDARD_INPUT:
                if str(input_path) == "-" and sys.stdin is None:
                    raise click.ClickException("--input -: standard input is closed")
                file = stack.enter_context(click.open_file(str(input_path), "rb"))
                read = partial(inputs.from_file, cast("BinaryIO", file))
            elif input_path is not None:
                read = partial(inputs.from_path, input_path.absolute())
            elif random_count is not None:
                read = partial(inputs.from_grammar, random_count, seed)
            else:
                read = partial(inputs.from_arguments, texts)
            if total == 0:
                raise click.ClickException(f"{input_path} holds no expression")
            generator = load(weights, "cpu" if engine == "ray" else device, precision, decoder, cuda_graphs)
            generator.check(drawn_on, batch_size or 1, temperature)  # before anything is overwritten
            augment = _checked_augment(augment, drawn_on.drawn_like, generator.config.image.channels)
            shard_size = shard_size or FORMATS[file_format].default_shard
            settings = Settings(
                weights=generator.weights,
                precision=generator.precision,
                seed=seed,
                count=count,
                size=drawn_on.drawn_like,
                source=source,
                format=file_format,
                split=split,
                shard_size=shard_size,
                runtime=generator.runtime,
                augment=augment,
                temperature=temperature,
                canvas="square" if drawn_on.is_square else str(drawn_on),
            )
            if engine == "ray":
                cluster = stack.enter_context(
                    ray_cluster.connected(ray_address, ray_actors, cpus_per_actor or 1, gpus_per_actor)
                )
                click.echo(str(cluster))
                sent = ray_drawing.Weights(*read_weights(weights))
                first_batch_size = batch_size or ray_drawing.fitting_batch_size(cluster, sent, settings)
            else:
                first_batch_size = batch_size or generator.fitting_batch_size()
            run = stack.enter_context(Run(out, settings, first_batch_size, overwrite))
            if run.manifest.complete:
                click.echo(f"{out} holds this run already, complete: {_number(run.written, 'image')}")
            with _Progress(run, total) as progress:
                together = batch_size or run.manifest.batch_size
                if engine == "ray":
                    ray_drawing.draw(
                        cluster, sent, run, read, together, progress.written, progress.rejected, cuda_graphs
                    )
                else:
                    draw(
                        generator,
                        run,
                        read(),
                        together,
                        default_workers(generator.device.type) if workers is None else workers,
                        progress.written,
                        progress.rejected,
                    )
    except torch.OutOfMemoryError as error:
        raise click.ClickException(f"out of memory on {generator.device}; try a smaller --batch-size") from error
    except OSError as error:
        raise click.ClickException(described(error, out)) from error
    except (ValueError, BackendError, Unavailable, WorkerDiedError) as error:
        raise click.ClickException(str(error)) from error


def _check_runtime(runtime: str | None, decoder: Path | None, weights: str) -> None:
    """Whether --runtime and --decoder (or --weights, which may name a decoder too) say the same."""
    from hmeg.generation.decoder_file import KINDS, TORCH, kind_of

    if decoder is None and kind_of(weights) is not None:
        decoder = Path(weights)
    if decoder is None:
        if runtime not in (None, TORCH):
            suffix = next(suffix for suffix, kind in KINDS.items() if kind == runtime)
            raise click.UsageError(
                f"--runtime {runtime} needs the file it runs: --decoder FILE{suffix}; `hmeg export {runtime}` makes one"
            )
        return
    kind = kind_of(decoder)
    if kind is None:
        raise click.UsageError(f"--decoder must be a file that ends in {', '.join(KINDS)}, got {decoder}")
    if runtime not in (None, kind):
        raise click.UsageError(f"{decoder} is run by {kind}, not by {runtime}; leave out --runtime")


def _check_for_ray(
    device: str, workers: int | None, input_path: Path | None, drawn_by: str | Path, gpus: float | None
) -> None:
    """Whether the options make sense where others draw; ``drawn_by`` is the file of the decoder."""
    from hmeg.generation.decoder_file import kind_of

    if kind_of(drawn_by) is not None:
        raise click.UsageError(f"{drawn_by} is for --engine local; with ray, the networks run in torch")
    if device != "auto":
        raise click.UsageError("--device is for --engine local; with ray, --gpus-per-actor says who draws on a GPU")
    if workers is not None:
        raise click.UsageError("--workers is for --engine local; with ray, the actors encode what they draw")
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise click.UsageError(f"--gpus-per-actor may be a part of one GPU or whole GPUs, not {gpus:g}")
    if input_path is not None and not input_path.is_file():
        raise click.UsageError("--engine ray reads a file, not a pipe: write the expressions to one first")


def _check_for_local(*ray_options: object) -> None:
    if any(option is not None for option in ray_options):
        raise click.UsageError("--ray-address, --ray-actors, --cpus-per-actor and --gpus-per-actor need --engine ray")


def _checked_augment(augment: str, size: int, channels: int) -> str:
    """What ``--augment`` stands for in settings, tried on a blank image."""
    setting = chosen(augment)
    if setting != NONE:
        varying().check(setting, size, channels)
    return setting


class _Progress:
    """Tells people about samples and rejections."""

    def __init__(self, run: Run, expressions: int | None) -> None:
        self._run = run
        self._count = run.settings.count
        self._before, self._shown, self._small = run.written, 0, 0
        total = None if expressions is None else (expressions - run.rejected) * self._count
        self._bar = tqdm(total=total, initial=run.written, unit=" images", desc="drawing", bar_format=_BAR)

    def written(self, sample: Sample) -> None:
        self._small += sample.x_height is not None and sample.x_height < SMALLEST
        self._bar.update()

    def rejected(self, entry: Entry, reason: str) -> None:
        if self._bar.total is not None:
            self._bar.total -= self._count
        self._shown += 1
        if self._shown <= _SHOWN_REJECTIONS:
            what = "line" if entry.from_file else "expression"
            self._bar.write(f"rejected {what} {entry.line}: {reason}", file=sys.stderr)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
        run = self._run
        if run.kept > self._before:
            seconds = self._bar.format_dict["elapsed"]
            earlier = f", {_number(self._before, 'image')} of them from before" if self._before else ""
            pixels = f"{run.pixels / seconds / 1e6:.2f} million pixels/s"
            rate = f"{seconds:.1f} s, {(run.written - self._before) / seconds:.1f} images/s, {pixels}"
            click.echo(f"{_number(run.kept, 'image')} in {run.folder}{earlier} ({rate})")
        if self._small and run.settings.drawn_on.is_square:
            click.echo(
                f"{_number(self._small, 'image')} with letters less than {SMALLEST:g} pixels high; --canvas fit draws "
                "long expressions larger",
                err=True,
            )
        if run.rejected:
            click.echo(f"{_number(run.rejected, 'expression')} rejected: {run.folder / 'rejected.jsonl'}", err=True)
        if isinstance(error, KeyboardInterrupt):
            raise click.ClickException(
                "interrupted; what is finished is complete, and the same command goes on from there"
            ) from None
        if error is None and not run.written:
            raise click.ClickException("nothing was drawn: no expression could be used")


def _digest(texts: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
