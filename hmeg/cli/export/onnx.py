"""``hmeg export onnx``: one ONNX file of standard operators."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from shlex import quote

import click

from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import output_file, precision_option, weights_option
from hmeg.precisions import SHORT


@click.command()
@weights_option()
@output_file("File to write (.onnx).")
@click.option(
    "--part",
    default="decoder",
    show_default=True,
    type=click.Choice(["decoder", "full"]),
    help="decoder: layout and noise -> images. full: padded symbol graphs and noise -> boxes, masks, images.",
)
@precision_option("Of upsampler and decoder. float16 and bfloat16 are for GPUs.", tuple(SHORT))
@click.option(
    "--max-symbols",
    default=64,
    show_default=True,
    type=click.IntRange(2, 4096),
    help="Most symbols of an expression, for --part full.",
)
@click.option(
    "--check/--no-check", default=True, show_default=True, help="Compare with torch, by onnxruntime, before it appears."
)
def command(weights: str, out: Path, part: str, precision: str, max_symbols: int, check: bool) -> None:
    """Write a model, or its decoder, as one ONNX file of standard operators.

    \b
    decoder  layout, noise[, glyphs] -> image_64, image_128, image_256
             what `hmeg generate` and hmeg.load run: graphs become layouts in torch
    full     symbols, relations, counts, box_noise, image_noise, boxes_given, boxes[, typeset_boxes]
             -> boxes_drawn, masks, image_64, image_128, image_256
             everything but LaTeX and the typesetter, for servers without Python

    The batch is dynamic, and so is, in full, the number of symbols. Noise is an input: the same noise gives the same
    image. Shapes, and how to run it from Python, C++ and TensorRT: docs/deployment.md. Small takes seconds for the
    decoder and about a minute in full.
    """
    from hmeg.export.onnx_check import check_onnx
    from hmeg.export.onnx_export import export_onnx
    from hmeg.weights import load_model

    started = time.monotonic()

    def tell(text: str) -> None:
        click.echo(f"[{time.monotonic() - started:5.1f} s] {text}", err=True)

    verdict = "not checked (--no-check)"
    if check:
        why_not = _cannot_check(precision)
        verdict = f"not checked: {why_not}" if why_not else ""
    with errors_in_words(out):
        tell(f"reading {weights}")
        model, name = load_model(weights)

        def compare(path: Path) -> None:
            nonlocal verdict
            tell("comparing with torch, by onnxruntime")
            found = check_onnx(path, model)
            verdict = (
                f"onnxruntime agrees with torch to {found.difference:.1e} of the largest value "
                f"(allowed are {found.allowed:.1e})"
            )

        tell(f"tracing the {part} network")
        metadata = export_onnx(
            model,
            out,
            part=part,
            precision=SHORT[precision],
            max_symbols=max_symbols,
            check=None if verdict else compare,
        )
    click.echo(
        f"{out}: {part} network of {name}@{metadata.weights_id}, {precision}, "
        f"{out.stat().st_size / 1e6:.1f} MB\n{verdict}"
    )
    if part == "decoder" and precision != "bfloat16":
        click.echo(
            f"try: hmeg generate --weights {quote(weights)} --decoder {quote(str(out))} --random 16 --out out/onnx",
            err=True,
        )
    if metadata.licence:
        click.echo(f"licence of the weights in it: {metadata.licence}")


def _cannot_check(precision: str) -> str | None:
    if precision == "bfloat16":
        return "onnxruntime computes no bfloat16 convolutions on the CPU"
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed (pip install 'hmeg[onnx]')"
    return None
