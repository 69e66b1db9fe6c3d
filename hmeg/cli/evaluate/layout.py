"""``hmeg evaluate layout``: generated boxes against real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import Number, report_folder

from .given import command_line
from .numbers import number_list

if TYPE_CHECKING:
    from hmeg.model.config import ModelConfig
    from hmeg.model.layout import LayoutGenerator

_PICTURES = 6


@click.command()
@click.option(
    "--weights",
    required=True,
    metavar="NAME|PATH",
    help="Bundled weights, a .safetensors file, or the folder of a layout or joint run.",
)
@click.option(
    "--compare",
    multiple=True,
    metavar="NAME|PATH",
    help="Others to be set beside them, e.g. trained with --no-lim; may be given many times.",
)
@click.option(
    "--data", required=True, type=click.Path(exists=True, path_type=Path), help="Folder made by `hmeg data crohme`."
)
@click.option(
    "--seeds", default="0,1,2", show_default=True, callback=number_list, metavar="N,N,..", help="Of the noise."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N expressions only.")
@click.option(
    "--overlap",
    default=0.1,
    show_default=True,
    type=Number(0, 1, max_open=True),
    help="Two boxes overlap when more than this share of the smaller one is covered.",
)
@report_folder()
def command(
    weights: str,
    compare: tuple[str, ...],
    data: Path,
    seeds: tuple[int, ...],
    limit: int | None,
    overlap: float,
    out: Path,
) -> None:
    """Compare generated layouts with real ones: IoU by relation, overlaps, relations that do not hold.

    With and without Less-is-More: train two layout runs (`hmeg train layout`, with --lim and with --no-lim) and give
    one to --weights, the other to --compare. The typesetter that needs no training is measured along with them.

    OUT/report.html and OUT/metrics.json hold the results, with those of earlier commands of the same --out.
    """
    from hmeg.evaluation.extras import require_libraries

    with errors_in_words(out, interrupted="interrupted; nothing was written"):
        require_libraries()
        from hmeg.data.crohme import CrohmeDataset
        from hmeg.evaluation.layout_metrics import generated_layouts, score
        from hmeg.evaluation.layout_report import REAL, TYPESETTER, layout_section
        from hmeg.evaluation.sections import check_folder
        from hmeg.graph.typeset import typeset

        check_folder(out)  # before anything is computed
        graphs = CrohmeDataset(data).graphs[:limit]
        networks = {name: _load(name) for name in dict.fromkeys((weights, *compare))}
        real = [graph.boxes for graph in graphs if graph.boxes is not None]
        layouts = {REAL: [real], TYPESETTER: [[typeset(graph) for graph in graphs]]}
        for name, (network, config) in networks.items():
            click.echo(f"{name}: layouts of {len(graphs)} expressions, {len(seeds)} seeds ...", err=True)
            layouts[name] = [generated_layouts(network, config, graphs, seed) for seed in seeds]
        scores = {name: [score(graphs, boxes, overlap) for boxes in of_seed] for name, of_seed in layouts.items()}
        step = max(1, len(graphs) // _PICTURES)
        drawn = [
            (graphs[row], {name: of_seed[0][row] for name, of_seed in layouts.items()})
            for row in range(0, len(graphs), step)
        ]
        settings = {"data": data.name, "expressions": len(graphs), "seeds": list(seeds), "overlap": overlap}
        given = command_line(
            "layout", weights=weights, compare=compare, data=data, seeds=",".join(map(str, seeds)), overlap=overlap,
            limit=limit,
        )  # fmt: skip
        report = layout_section(scores, drawn[:_PICTURES], settings, given).save(out)
    for name, of_seed in scores.items():
        iou, new, wrong = (
            sum(getattr(s, key) for s in of_seed) / len(of_seed) for key in ("iou", "overlap", "violations")
        )
        click.echo(f"IoU {iou:.3f}   overlaps {new:6.2%}   violations {wrong:6.2%}   {name}")
    click.echo(f"report: {report}")


def _load(name: str) -> tuple[LayoutGenerator, ModelConfig]:
    """The layout generator of bundled weights, of a file, or of a training run."""
    if Path(name).is_dir():
        from hmeg.training.pack import layout_generator_of

        return layout_generator_of(Path(name))
    from hmeg.generation import load

    generator = load(name, "cpu")
    return generator.model.layout_generator, generator.config
