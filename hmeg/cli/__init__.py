"""The command line: ``hmeg generate | convert | train | data | graph | export | evaluate | info``.

Every command lives in a module of its own and is imported only when it is called, so ``hmeg --help`` is instant.
"""

from __future__ import annotations

import click

from hmeg import __version__

from .lazy import LazyGroup

# command name -> (module, one-line help); each module holds a click command called ``command``.
COMMANDS = {
    "generate": ("hmeg.cli.generate", "LaTeX -> images of handwriting, with labels."),
    "convert": ("hmeg.cli.convert", "A finished run in another form: COCO, YOLO, Parquet, WebDataset, ..."),
    "graph": ("hmeg.cli.graph", "Show or convert symbol graphs (LaTeX, MathML, InkML, label graphs)."),
    "data": ("hmeg.cli.data", "Prepare training data from handwriting archives."),
    "train": ("hmeg.cli.train", "Train the layout generator, the image model, a recogniser."),
    "export": ("hmeg.cli.export", "Networks as files for other runtimes."),
    "evaluate": ("hmeg.cli.evaluate", "Measure images, layouts and recognition."),
    "info": ("hmeg.cli.info", "Version, build, backends and weights."),
}


@click.group(
    cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="hmeg")
def main() -> None:
    """LaTeX in, images of handwritten mathematics out."""
