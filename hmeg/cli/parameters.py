"""Kinds of values that options take, beside click's own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from hmeg.generation.limits import MAX_TEMPERATURE

_Command = TypeVar("_Command", bound=Callable[..., Any])


def temperature_option(help_text: str) -> Callable[[_Command], _Command]:
    """``--temperature``, of layouts."""
    return click.option(
        "--temperature", default=1.0, show_default=True, type=Number(0, MAX_TEMPERATURE), help=help_text
    )


class Output(click.Path):
    """A file or a folder to write; an empty text, as of a shell's variable that is not set, is not the folder here."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if value == "":
            self.fail("it is empty; is a variable not set?", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A number in a range; nan is in none, though it compares as if it were in all, nor is inf."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is no finite number.", param, ctx)
        return number
