"""The forms in which a run can be written."""

from __future__ import annotations

from .can_writer import CanFormat
from .coco_writer import CocoFormat
from .comer_writer import ComerFormat
from .folder_writer import FolderFormat
from .format import Format
from .parquet_writer import ParquetFormat
from .webdataset_writer import WebDatasetFormat
from .yolo_writer import YoloFormat

FORMATS: dict[str, type[Format]] = {
    "folder": FolderFormat,
    "webdataset": WebDatasetFormat,
    "parquet": ParquetFormat,
    "coco": CocoFormat,
    "yolo": YoloFormat,
    "can": CanFormat,
    "comer": ComerFormat,
}

__all__ = ["FORMATS", "Format"]
