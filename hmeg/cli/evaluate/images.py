"""``hmeg evaluate images``: generated images beside real ones."""

from __future__ import annotations

from pathlib import Path

import click

from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import device_option, report_folder
from hmeg.quoting import quoted

from .given import command_line

_set = click.Path(path_type=Path)  # which may lead into an archive
_CAN = "can:"


def _checkpoints(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Path, ...]:
    """Paths of ``can:PATH``."""
    for value in values:
        if not value.startswith(_CAN) or value == _CAN:
            raise click.BadParameter(f"{quoted(value)} names no features: give can: and the path of a checkpoint")
    return tuple(Path(value.removeprefix(_CAN)) for value in values)


@click.command()
@click.argument("real", type=_set)
@click.argument("generated", type=_set)
@report_folder()
@click.option("--name", help="What the section of the report is called.  [default: the name of GENERATED]")
@click.option(
    "--size",
    default=256,
    show_default=True,
    type=click.IntRange(16, 1024),
    metavar="PIXELS",
    help="Both sets are brought to this side, a power of two.",
)
@click.option(
    "--count",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="At most N images of each set, drawn at random, pairs first; 0: all.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of every random choice.")
@click.option(
    "--inception-weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For FID, KID and Inception Score: pt_inception-2015-12-05-6726825d.pth of pytorch-fid, "
    "torch-fidelity's or torchvision's Inception v3.",
)
@click.option(
    "--features",
    multiple=True,
    metavar="can:CHECKPOINT",
    callback=_checkpoints,
    help="Compare by the encoder of a trained CAN, too; CHECKPOINT as for `hmeg evaluate recognition`.",
)
@device_option("Of networks;")
@click.option(
    "--geometry-trials",
    default=100,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="Choices of landmarks for the geometry score (1000 in its authors' code); 0 leaves it out.",
)
def command(
    real: Path,
    generated: Path,
    out: Path,
    name: str | None,
    size: int,
    count: int,
    seed: int,
    inception_weights: Path | None,
    features: tuple[Path, ...],
    device: str,
    geometry_trials: int,
) -> None:
    """Compare GENERATED images with REAL ones.

    Each is a folder of images, a folder that `hmeg generate` wrote in any format, a folder of `hmeg data crohme`,
    WebDataset shards (.tar), a CAN pickle (*_images.pkl) or a CoMER archive (.zip; of several splits one:
    data.zip/data/train).

    \b
    Fréchet and kernel distance   between features of the bundled symbol classifier, of whole images and, where
                                  both sets have boxes, of symbols cut out
    FID, KID, Inception Score     with --inception-weights only: these weights cannot be bundled
    sliced Wasserstein distance   of patches, for each level of a Laplacian pyramid
    geometry score                do the sets have the same holes?
    SSIM                          over pairs, where both sets show the same names or expressions

    What cannot be measured is listed with the reason. OUT/report.html and OUT/metrics.json hold the results, with
    those of earlier commands of the same --out.
    """
    from hmeg.evaluation.extras import require_libraries

    with errors_in_words(out, interrupted="interrupted; nothing was written"):
        require_libraries()
        from hmeg.devices import select_device
        from hmeg.evaluation.features import can_features
        from hmeg.evaluation.image_metrics import ImageSettings, measure_images
        from hmeg.evaluation.image_report import image_section
        from hmeg.evaluation.inception import load_inception
        from hmeg.evaluation.sections import check_folder, check_inputs, check_key
        from hmeg.image_sets import open_images
        from hmeg.recognition import load as load_can

        called = name or generated.resolve().name
        check_key(f"images {called}")
        inputs = [str(real), str(generated)]
        check_folder(out)  # before anything is computed
        if name is None:
            check_inputs(out, f"images {called}", {"inputs": inputs})
        device = str(select_device(device))
        settings = ImageSettings(size, count, seed, geometry_trials, device)
        inception = None if inception_weights is None else load_inception(inception_weights).to(device)
        extractors = [can_features(load_can(path, device), path.name) for path in features]
        sets = open_images(real), open_images(generated)
        found, shown = measure_images(
            *sets, settings, inception, extractors, tell=lambda step: click.echo(f"{step} ...", err=True)
        )
        given = command_line(
            "images", real, generated, name=name, size=size, count=count, seed=seed, device=device,
            geometry_trials=geometry_trials, inception_weights=inception_weights,
            features=[f"{_CAN}{path}" for path in features],
        )  # fmt: skip
        report = image_section(found, shown, called, inputs, given).save(out)
    for measure in found.measures:
        value = f"{measure.value:10.4g}" if measure.value is not None else f"{'-':>10}"
        floor = "" if measure.floor is None else f"   (halves of real: {measure.floor:.4g})"
        click.echo(f"{value}  {measure.name}, {measure.features}{floor}")
    for reason in dict.fromkeys(m.left_out for m in found.measures if m.left_out):
        click.echo(f"not measured (-): {reason}", err=True)
    click.echo(f"report: {report}")
