"""What commands say of errors: one line that names the file."""

from __future__ import annotations

from pathlib import Path


def described(error: Exception, out: Path | str) -> str:
    """One line of words; a disk that is full is noticed while writing to ``out``, and its error names no file."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"{error.filename or out}: {error.strerror}"
