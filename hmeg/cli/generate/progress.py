"""What `hmeg generate` tells while it draws and when it ends."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from hmeg.canvas import SMALLEST

if TYPE_CHECKING:
    from hmeg.generation.inputs import Entry
    from hmeg.generation.run import Run
    from hmeg.image_sets.sample import Sample

_SHOWN_REJECTIONS = 5
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"  # always images/s, never s/image


class Progress:
    """Tells people about samples and rejections."""

    def __init__(self, run: Run, expressions: int | None) -> None:
        self._run = run
        self._count = run.settings.count
        self._before, self._shown, self._small = run.written, 0, 0
        total = None if expressions is None else (expressions - run.rejected) * self._count
        self._bar = tqdm(total=total, initial=run.written, unit=" images", desc="drawing", bar_format=_BAR)

    def written(self, sample: Sample) -> None:
        self._small += sample.x_height is not None and sample.x_height < SMALLEST
        self._bar.update()

    def rejected(self, entry: Entry, reason: str) -> None:
        if self._bar.total is not None:
            self._bar.total -= self._count
        self._shown += 1
        if self._shown <= _SHOWN_REJECTIONS:
            what = "line" if entry.from_file else "expression"
            self._bar.write(f"rejected {what} {entry.line}: {reason}", file=sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
        run = self._run
        if run.kept > self._before:
            seconds = self._bar.format_dict["elapsed"]
            earlier = f", {counted(self._before, 'image')} of them from before" if self._before else ""
            pixels = f"{run.pixels / seconds / 1e6:.2f} million pixels/s"
            rate = f"{seconds:.1f} s, {(run.written - self._before) / seconds:.1f} images/s, {pixels}"
            click.echo(f"{counted(run.kept, 'image')} in {run.folder}{earlier} ({rate})")
        if self._small and run.settings.drawn_on.is_square:
            click.echo(
                f"{counted(self._small, 'image')} with letters less than {SMALLEST:g} pixels high; --canvas fit draws "
                "long expressions larger",
                err=True,
            )
        if run.rejected:
            click.echo(f"{counted(run.rejected, 'expression')} rejected: {run.folder / 'rejected.jsonl'}", err=True)
        if isinstance(error, KeyboardInterrupt):
            raise click.ClickException(
                "interrupted; what is finished is complete, and the same command goes on from there"
            ) from None
        if error is None and not run.written:
            raise click.ClickException("nothing was drawn: no expression could be used")


def counted(count: int, what: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
