"""Options that say what images are drawn on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from hmeg.canvas import (
    FIT,
    LARGEST,
    MARGIN,
    MAX_SYMBOL_HEIGHT,
    MIN_SYMBOL_HEIGHT,
    SMALLEST,
    SQUARE,
    SYMBOL_HEIGHT,
    Canvas,
    parsed_size,
)
from hmeg.quoting import quoted

_OPTIONS = (
    click.option(
        "--canvas",
        default=SQUARE,
        show_default=True,
        metavar="square|fit|WxH",
        help="Shape of the images: squares of --size; as large as each expression needs at --symbol-height; or all of "
        "one width and height, such as 512x128.",
    ),
    click.option(
        "--size",
        type=click.IntRange(1),
        metavar="PIXELS",
        help="Side of square images. 64, 128 and 256 are drawn natively, other sizes up to 256 scaled down.  "
        "[default: 256]",
    ),
    click.option(
        "--symbol-height",
        type=click.FloatRange(MIN_SYMBOL_HEIGHT, MAX_SYMBOL_HEIGHT),
        metavar="PIXELS",
        help=f"How high a letter x of the main row is, {MIN_SYMBOL_HEIGHT:g} to {MAX_SYMBOL_HEIGHT:g}, unless the "
        f"canvas has no room for that; for fit and WxH.  [default: {SYMBOL_HEIGHT:g}]",
    ),
    click.option(
        "--max-size",
        metavar="WxH|can|comer",
        help="Largest image of --canvas fit; can and comer are what these recognisers take, 1600x320 and 1024x256.  "
        f"[default: {LARGEST[0]}x{LARGEST[1]}]",
    ),
    click.option(
        "--min-symbol-height",
        type=click.FloatRange(0, MAX_SYMBOL_HEIGHT),
        metavar="PIXELS",
        help="Reject expressions whose letters would be lower for want of room; 0: none; for fit and WxH.  "
        f"[default: {SMALLEST:g}]",
    ),
    click.option(
        "--margin",
        type=click.IntRange(0, 1024),
        metavar="PIXELS",
        help=f"Paper around the ink, at least; for fit and WxH.  [default: {MARGIN}]",
    ),
)


def canvas_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command; :func:`canvas_of` takes their values."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def canvas_of(
    canvas: str,
    size: int | None,
    symbol_height: float | None,
    max_size: str | None,
    min_symbol_height: float | None,
    margin: int | None,
) -> Canvas:
    """The canvas that the options stand for; ``click.UsageError`` for options that make no sense together."""
    for_others = {
        "--symbol-height": symbol_height,
        "--max-size": max_size,
        "--min-symbol-height": min_symbol_height,
        "--margin": margin,
    }
    if canvas == SQUARE:
        given = [name for name, value in for_others.items() if value is not None]
        if given:
            raise click.UsageError(f"{given[0]} is for --canvas fit or WxH; squares are drawn as networks were trained")
        return Canvas.square(256 if size is None else size)
    if size is not None:
        raise click.UsageError(f"--size is for square images; --canvas {canvas} says the size itself")
    rest: dict[str, Any] = {"symbol_height": symbol_height, "smallest": min_symbol_height, "margin": margin}
    rest = {name: value for name, value in rest.items() if value is not None}
    try:
        if canvas == FIT:
            return Canvas.fit(max_size=LARGEST if max_size is None else max_size, **rest)
        if max_size is not None:
            raise click.UsageError(f"--max-size is for --canvas fit; {canvas} is the size of every image")
        return Canvas.fixed(*_shape(canvas), **rest)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _shape(canvas: str) -> tuple[int, int]:
    try:
        return parsed_size(canvas)
    except ValueError:
        raise click.UsageError(f"--canvas is square, fit or WIDTHxHEIGHT in pixels, not {quoted(canvas)}") from None
