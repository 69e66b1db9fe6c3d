"""``hmeg generate``: expressions in, labelled images out.

Its options are here, with what they mean together in :mod:`hmeg.cli.generate.options`. :mod:`hmeg.cli.generate.steps`
draws; it is imported when something is drawn, because it loads torch and ``--help`` should not wait for that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hmeg.cli.canvas_options import canvas_options
from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import (
    Number,
    NumberOrAuto,
    Output,
    device_option,
    precision_option,
    temperature_option,
    weights_option,
)

from .options import Options

_LARGEST_BATCH = 4096
_MOST_ACTORS = 100_000


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
@click.option(
    "--grammar",
    type=click.Choice(["crohme", "open"]),
    default="crohme",
    show_default=True,
    help="For --random: CROHME's symbols as often as people use them, or all symbols that the weights know.",
)
@click.option("--out", required=True, type=Output(path_type=Path), help="Folder to write to; made if missing.")
@click.option(
    "--format",
    "file_format",
    default="folder",
    show_default=True,
    type=click.Choice(["folder", "webdataset", "parquet", "coco", "yolo", "can", "comer"]),
    help="PNG files; WebDataset tar shards; Parquet shards for Hugging Face's datasets (pip install 'hmeg[parquet]'); "
    "what detectors of symbols train on, and what the recognisers CAN and CoMER do.",
)
@click.option(
    "--split",
    default="train",
    show_default=True,
    metavar="NAME",
    help="What these samples are called, in all formats but folder and webdataset.",
)
@weights_option()
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
@device_option()
@precision_option(
    "Of the decoder. bfloat16 is faster where the processor has it, and moves some pixels by a few grey levels."
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
    type=NumberOrAuto(_LARGEST_BATCH),
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
    help="Indices a shard covers: what is lost at most by a crash.  [default: 256 for folder, coco, yolo, else 1000]",
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
    type=NumberOrAuto(_MOST_ACTORS),
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
def command(**values: Any) -> None:
    """Draw handwritten images of expressions, with labels.

    Expressions come from one of --latex, --input and --random.

    \b
    --format folder        OUT/000000.png, ...    one image a sample, named by the sample's index
    --format webdataset    OUT/000000.tar, ...    png, json (the label) and txt (LaTeX) of every sample
    --format parquet       OUT/train-000000.parquet, ...    one row a sample: image, and the keys of its label
    --format coco          OUT/train/000000.png, ..., OUT/annotations/instances_train.json
    --format yolo          OUT/images/train/000000.png, ..., OUT/labels/train/000000.txt, ..., OUT/data.yaml
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
    options = Options(**values)
    options.check()
    from .steps import draw_all

    with errors_in_words(options.out):
        draw_all(options)
