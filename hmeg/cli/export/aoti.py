"""``hmeg export aoti``: the decoder compiled ahead of time; where it runs it needs no compiler."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from hmeg.cli.errors import described
from hmeg.cli.parameters import Output


@click.command(short_help="The decoder as compiled code (.pt2).")
@click.option("--weights", default="small", show_default=True, metavar="NAME|PATH", help="Bundled, or a weights file.")
@click.option("--out", required=True, type=Output(dir_okay=False, path_type=Path), help="A file ending in .pt2.")
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    type=click.Choice(["fp32", "bf16"]),
    help="Of arithmetic, inputs and images.",
)
@click.option(
    "--device", default="cpu", show_default=True, metavar="cpu|cuda", help="What the code is for; it must be here."
)
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
    from hmeg.export.errors import Unavailable
    from hmeg.weights import load_model

    try:
        chosen = select_device(device)
        model, name = load_model(weights)
        click.echo(f"compiling the decoder of {name} for {chosen}, in {precision}; it takes a while", err=True)
        build_package(model, out, precision=precision, device=chosen, largest_batch=largest_batch)
    except (ValueError, OSError, Unavailable) as error:
        raise click.ClickException(described(error, out)) from error
    click.echo(f"{out}: decoder of {name}@{model.weights_id}, {precision}, {out.stat().st_size / 1e6:.1f} MB")
    click.echo(
        f"try: hmeg generate --weights {quote(weights)} --decoder {quote(str(out))} --random 16 --out out/aoti",
        err=True,
    )
