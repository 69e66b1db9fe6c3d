"""``hmeg export aoti``: the decoder compiled ahead of time; where it runs it needs no compiler."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import device_option, output_file, precision_option, weights_option
from hmeg.precisions import SHORT


@click.command(short_help="The decoder as compiled code (.pt2).")
@weights_option()
@output_file("A file ending in .pt2.")
@precision_option("Of arithmetic, inputs and images.")
@device_option("What the code is for; it must be here.")
@click.option(
    "--largest-batch",
    default=256,
    show_default=True,
    type=click.IntRange(2, 1024),
    metavar="N",
    help="Most images computed at a time.",
)
def command(weights: str, out: Path, precision: str, device: str, largest_batch: int) -> None:
    """Compile the decoder of a model with torch.export and AOTInductor.

    The file serves any batch from 1 on, and runs with this version of torch on processors (and GPUs) like this one:

    \b
      hmeg export aoti --weights small --out small.pt2
      hmeg generate --weights small --decoder small.pt2 --random 64 --out out/r

    It holds a compiled library, and loading it runs that library: give files to people who trust you, and load files of
    people you trust. Needs a C++ compiler; takes half a minute and more.
    """
    if out.suffix != ".pt2":
        raise click.UsageError(f"--out must end in .pt2, got {out}")

    from hmeg.devices import select_device
    from hmeg.export.aoti.build import build_package
    from hmeg.weights import load_model

    with errors_in_words(out):
        chosen = select_device(device)
        model, name = load_model(weights)
        click.echo(f"compiling the decoder of {name} for {chosen}, in {precision}; it takes a while", err=True)
        build_package(model, out, precision=SHORT[precision], device=chosen, largest_batch=largest_batch)
    click.echo(f"{out}: decoder of {name}@{model.weights_id}, {precision}, {out.stat().st_size / 1e6:.1f} MB")
    click.echo(
        f"try: hmeg generate --weights {quote(weights)} --decoder {quote(str(out))} --random 16 --out out/aoti",
        err=True,
    )
