"""What commands say of errors: one line that names the file and the way out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from hmeg.refusals import Refusal
from hmeg.training.signals import EXIT_STATUS, Interrupted

_EXPECTED = (ValueError, OSError, FloatingPointError, Refusal)  # whose texts are for people


def described(error: Exception, out: Path | str) -> str:
    """One line of words; a disk that is full is noticed while writing to ``out``, and its error names no file."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"{error.filename or out}: {error.strerror}"


@contextmanager
def errors_in_words(
    out: Path | str, interrupted: str | None = None, stopped: str = "", also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Within it, errors that are no faults of hmeg become a line of text, and exit status 1.

    out          where the command writes, see :func:`described`
    interrupted  what to say of Ctrl-C; None: what click says
    stopped      what to add to the text of :class:`hmeg.training.signals.Interrupted`, which exits with status 75
    also         more kinds of errors whose texts are for people
    """
    expected: tuple[type[Exception], ...] = (*_EXPECTED, *also)
    try:
        yield
    except Interrupted as error:
        click.echo(f"{error}; {stopped}", err=True)
        raise SystemExit(EXIT_STATUS) from None
    except expected as error:
        raise click.ClickException(described(error, out)) from error
    except RuntimeError as error:
        if not _is_lack_of_memory(error):
            raise
        context = click.get_current_context(silent=True)
        hint = "; try a smaller --batch-size" if context is not None and "batch_size" in context.params else ""
        raise click.ClickException(f"out of memory{hint}") from error
    except KeyboardInterrupt:
        if interrupted is None:
            raise
        raise click.ClickException(interrupted) from None


def _is_lack_of_memory(error: RuntimeError) -> bool:
    torch = sys.modules.get("torch")  # where it is not loaded, it raised nothing
    return torch is not None and isinstance(error, torch.OutOfMemoryError)
