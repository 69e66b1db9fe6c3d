"""``hmeg evaluate study``: do generated images help a recogniser?"""

from __future__ import annotations

from pathlib import Path

import click

from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import device_option, report_folder

from .given import command_line
from .numbers import number_list

_STEPS = {"tiny": 300, "full": 265_000}


@click.command()
@click.option("--real", required=True, metavar="DATA", help="Real images with labels, e.g. made by `hmeg data crohme`.")
@click.option("--generated", required=True, metavar="DATA", help="Generated images with labels, from `hmeg generate`.")
@click.option("--validation", required=True, metavar="DATA", help="Images both read in the end; not learned from.")
@click.option(
    "--seeds", default="0,1,2", show_default=True, callback=number_list, metavar="N,N,..", help="A pair of runs each."
)
@click.option("--steps", type=click.IntRange(1), help="Of every run.  [default: 300 for tiny, 265000 for full]")
@click.option(
    "--size",
    default="full",
    show_default=True,
    type=click.Choice(["tiny", "full"]),
    help="Of the recogniser: as published, or small enough for two cores (it shows the way, not what can be reached).",
)
@click.option("--batch-size", default=8, show_default=True, type=click.IntRange(1), help="Images a step.")
@click.option(
    "--limit", default=0, type=click.IntRange(0), metavar="N", help="Read the first N validation images only."
)
@device_option()
@report_folder("Folder of runs and report.")
def command(
    real: str,
    generated: str,
    validation: str,
    seeds: tuple[int, ...],
    steps: int | None,
    size: str,
    batch_size: int,
    limit: int,
    device: str,
    out: Path,
) -> None:
    """Train CAN on real images, and on real and generated ones; compare what both read.

    For every seed two runs: the same network, steps, batch size and warm-up; only the data differ. DATA is a folder
    of `hmeg data crohme` or `hmeg generate`, WebDataset shards, CAN's files or a CoMER archive.

    \b
    OUT/study/ARM-seedN/   a run of `hmeg train can`, its result.json and its worst readings
    OUT/report.html        table and plot with the spread over seeds, beside the sections of other commands
    OUT/metrics.json       the same as numbers

    Stopped, the same command goes on where it was; finished runs are not repeated.
    """
    from hmeg.evaluation.extras import require_libraries

    goes_on = "the same command goes on"
    with errors_in_words(out, interrupted=f"interrupted; {goes_on} where it was", stopped=goes_on):
        require_libraries()
        from hmeg.devices import select_device
        from hmeg.evaluation.sections import check_folder
        from hmeg.evaluation.study import SIZES, StudySettings, run_study
        from hmeg.evaluation.study_report import study_section
        from hmeg.recognition.settings import CanTrainingConfig

        check_folder(out)  # before anything is computed
        chosen = steps or _STEPS[size]
        used = str(select_device(device))
        config = CanTrainingConfig(steps=chosen, batch_size=batch_size, device=device, keep=1, **SIZES[size])
        settings = StudySettings(real, generated, validation, seeds, config, limit)
        results = run_study(settings, out, tell=lambda text: click.echo(text, err=True))
        given = command_line(
            "study", real=real, generated=generated, validation=validation, seeds=",".join(map(str, seeds)),
            steps=chosen, size=size, batch_size=batch_size, limit=limit, device=used,
        )  # fmt: skip
        facts = {
            "size": size, "steps": chosen, "batch_size": batch_size, "seeds": list(seeds), "limit": limit,
            "trim": config.trim, "shrink": config.shrink, "device": used,
        }  # fmt: skip
        report = study_section(results, facts, given).save(out)
    for arm, runs in results.items():
        rates = ", ".join(f"{run['exprate']:.2%}" for run in runs)
        click.echo(f"ExpRate {sum(run['exprate'] for run in runs) / len(runs):7.2%}   {arm}   (by seed: {rates})")
    click.echo(f"report: {report}")
