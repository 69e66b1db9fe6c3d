"""``hmeg evaluate legibility``: which symbols of images can be read."""

from __future__ import annotations

from pathlib import Path

import click
from tqdm import tqdm

from hmeg.cli.errors import described
from hmeg.cli.parameters import Output

from .given import command_line


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N images of each only.")
@click.option(
    "--out",
    default=Path("evaluation"),
    show_default=True,
    type=Output(file_okay=False, path_type=Path),
    help="Folder of the report.",
)
def command(images: tuple[Path, ...], limit: int | None, out: Path) -> None:
    """Read the symbols of IMAGES, each at its box, and say how many are read: by the number of symbols of their
    expression, and by their height in pixels.

    IMAGES are folders that `hmeg generate` wrote (folder or webdataset) or `hmeg data crohme` prepared; several are set
    beside each other, for example the same formulas drawn with --canvas square and with --canvas fit.

    OUT/report.html and OUT/metrics.json hold the results, with those of earlier commands of the same --out.
    """
    from hmeg.evaluation.extras import require_libraries

    try:
        require_libraries()
        from hmeg.evaluation.reading import legibility_section, read, summary
        from hmeg.evaluation.sections import check_folder
        from hmeg.image_sets import open_images

        check_folder(out)  # before anything is computed
        names = [path.name for path in images]
        readings = {}
        for path, name in zip(images, names, strict=True):
            opened = open_images(path)
            count = len(opened) if limit is None else min(limit, len(opened))
            with tqdm(total=count, unit=" images", desc=name) as bar:
                readings[name if names.count(name) == 1 else str(path)] = read(opened, limit=limit, progress=bar.update)
        given = command_line("legibility", *images, limit=limit)
        report = legibility_section(readings, {"images": [str(path) for path in images], "limit": limit}, given).save(
            out
        )
    except (ValueError, OSError) as error:
        raise click.ClickException(described(error, out)) from error
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; nothing was written") from None
    for name, reading in readings.items():
        found = summary(reading)
        parts = ", ".join(
            f"{one} symbols {part['read']:.1%}" for one, part in found["by_length"].items() if part["read"] is not None
        )
        click.echo(f"{found['read']:.1%} of {found['symbols']:,} symbols read ({parts})   {name}")
    click.echo(f"report: {report}")
