"""Plots for reports, as SVG text: text stays text, the same numbers give the same file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# On a page that may be light or dark: the drawing brings its own white ground.
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "hmeg", "font.family": "sans-serif", "font.size": 10.0}


def grouped_bars(groups: Sequence[str], series: Mapping[str, Sequence[tuple[float, float]]], ylabel: str) -> str:
    """Bars with spreads: in every group one bar a series. series: name -> (value, spread) for each group."""
    return _svg(lambda figure: _draw_bars(figure, groups, series, ylabel), height=3.2)


def _draw_bars(
    figure: Figure, groups: Sequence[str], series: Mapping[str, Sequence[tuple[float, float]]], ylabel: str
) -> None:
    axes = figure.subplots()
    width = 0.8 / max(1, len(series))
    for number, (name, values) in enumerate(series.items()):
        at = [group + (number - (len(series) - 1) / 2) * width for group in range(len(groups))]
        spreads: Any = [spread for _, spread in values]
        axes.bar(
            at, [value for value, _ in values], width, yerr=spreads if any(spreads) else None, capsize=2, label=name
        )
    axes.set_xticks(range(len(groups)), groups)
    _finish(axes, ylabel)


def lines_of_points(x: Sequence[float], series: Mapping[str, Sequence[float]], xlabel: str, ylabel: str) -> str:
    """Lines of points over x. series: name -> a value for each x."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, values in series.items():
            axes.plot(range(len(x)), values, "o-", label=name)
        axes.set_xticks(range(len(x)), [f"{value:g}" for value in x])
        axes.set_xlabel(xlabel)
        _finish(axes, ylabel)

    return _svg(draw, height=3.0)


def _finish(axes: Any, ylabel: str) -> None:
    axes.set_ylabel(ylabel)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")


def _svg(draw: Any, height: float) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, height), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        draw(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
