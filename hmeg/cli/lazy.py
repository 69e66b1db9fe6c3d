"""A group of commands that are imported only when they are called: ``--help`` of the group stays instant."""

from __future__ import annotations

import errno
import importlib
from collections.abc import Mapping
from typing import Any

import click

from .errors import described


class LazyGroup(click.Group):
    """A group whose sub-commands are named in a table.

    lazy  name -> (module, one-line help), in the order they are shown; each module holds a click command called
          ``command``
    """

    def __init__(self, *arguments: Any, lazy: Mapping[str, tuple[str, str]], **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.lazy = lazy

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; in words, when the standard output takes no more (commands deal with files themselves)."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE or error.filename is not None:  # `| head` is nothing to speak of
                raise
            raise click.ClickException(described(error, "standard output")) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.lazy:
            return None
        command = importlib.import_module(self.lazy[name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not self.lazy:
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.lazy.items()])
