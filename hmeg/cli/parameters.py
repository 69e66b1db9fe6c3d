"""Options that several commands have, and kinds of values that they take, beside click's own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from hmeg.generation.limits import MAX_TEMPERATURE
from hmeg.precisions import canonical
from hmeg.quoting import quoted

_Command = TypeVar("_Command", bound=Callable[..., Any])


def temperature_option(help_text: str) -> Callable[[_Command], _Command]:
    """``--temperature``, of layouts."""
    return click.option(
        "--temperature", default=1.0, show_default=True, type=Number(0, MAX_TEMPERATURE), help=help_text
    )


def weights_option(help_text: str = "Bundled, or a .safetensors file.") -> Callable[[_Command], _Command]:
    """``--weights``; those that are bundled unless others are given."""
    return click.option("--weights", default="small", show_default=True, metavar="NAME|PATH", help=help_text)


def device_option(help_text: str = "", metavar: str = "auto|cpu|cuda") -> Callable[[_Command], _Command]:
    """``--device``, as :func:`hmeg.devices.select_device` takes it."""
    text = f"{help_text} auto: the GPU if there is one.".strip()
    return click.option("--device", default="auto", show_default=True, metavar=metavar, help=text)


def precision_option(
    help_text: str, words: Sequence[str] = ("float32", "bfloat16"), default: str | None = "float32"
) -> Callable[[_Command], _Command]:
    """``--precision``, some of the words of :mod:`hmeg.precisions`."""
    return click.option(
        "--precision", default=default, show_default=default is not None, type=Word(words), help=help_text
    )


def output_file(help_text: str) -> Callable[[_Command], _Command]:
    """``--out``, a file that the command writes."""
    return click.option("--out", required=True, type=Output(dir_okay=False, path_type=Path), help=help_text)


def report_folder(help_text: str = "Folder of the report.") -> Callable[[_Command], _Command]:
    """``--out``, the folder that commands of `hmeg evaluate` share."""
    return click.option(
        "--out",
        default=Path("evaluation"),
        show_default=True,
        type=Output(file_okay=False, path_type=Path),
        help=help_text,
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


class NumberOrAuto(click.ParamType):
    """A number from 1 to ``largest``, or ``auto`` (None)."""

    name = "N|auto"

    def __init__(self, largest: int) -> None:
        self._largest = largest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if isinstance(value, int):
            return value
        if not str(value).isdecimal() or not 1 <= int(str(value)) <= self._largest:
            self.fail(f"{quoted(str(value))} is neither a number from 1 to {self._largest} nor auto", param, ctx)
        return int(str(value))


class Word(click.Choice):
    """One of some words; of precisions those are taken too that they were called formerly."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(canonical(value) if isinstance(value, str) else value, param, ctx)
