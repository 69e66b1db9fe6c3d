"""The command line: ``hmeg generate | train | data | graph | info``.

Every command lives in a module of its own and is imported only when it is called, so ``hmeg --help`` is instant.
"""

from __future__ import annotations

import importlib

import click

# command name -> (module, one-line help); each module holds a click command called ``command``.
COMMANDS = {
    "generate": ("hmeg.cli.generate", "LaTeX -> images of handwriting, with labels."),
    "graph": ("hmeg.cli.graph", "Show or convert symbol graphs (LaTeX, MathML, InkML, label graphs)."),
    "data": ("hmeg.cli.data", "Prepare training data from handwriting archives."),
    "train": ("hmeg.cli.train", "Train the layout generator or the image model."),
    "info": ("hmeg.cli.info", "Version, build, backends and weights."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="hmeg")
def main() -> None:
    """LaTeX in, images of handwritten mathematics out."""
