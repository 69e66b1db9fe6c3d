"""The forms in which a run can be written."""

from __future__ import annotations

from .base import Format
from .can import CanFormat
from .comer import ComerFormat
from .folder import FolderFormat
from .webdataset import WebDatasetFormat

FORMATS: dict[str, type[Format]] = {
    "folder": FolderFormat,
    "webdataset": WebDatasetFormat,
    "can": CanFormat,
    "comer": ComerFormat,
}

__all__ = ["FORMATS", "Format"]
