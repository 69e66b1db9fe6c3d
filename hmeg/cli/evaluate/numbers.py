"""Lists of numbers on the command line."""

from __future__ import annotations

import click

from hmeg.quoting import quoted


def number_list(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """``0,1,2`` as numbers from 0 on, each once; at least one."""
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise click.BadParameter(f"{quoted(value)} is no list of numbers from 0 on, such as 0,1,2")
    if len(set(map(int, parts))) < len(parts):
        raise click.BadParameter(f"{quoted(value)} names a number twice")
    return tuple(int(part) for part in parts)
