"""Parquet shards with the columns that Hugging Face's `datasets` takes for images and labels."""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from hmeg import files

from .format import digest_of
from .png_format import PngFormat
from .sample import Sample

if TYPE_CHECKING:
    import pyarrow

ROWS_TOGETHER = 100  # of a row group: what a reader has to hold, and what the writer keeps until it is written
# `datasets` knows what the other columns are from their types; a struct of bytes and path could be anything.
_FEATURES = {"info": {"features": {"image": {"_type": "Image"}}}}


def schema() -> pyarrow.Schema:
    """Columns of a shard: ``image`` with the bytes of a PNG file and its name, then the keys of a label."""
    import pyarrow as pa

    relation = pa.struct([("subject", pa.int64()), ("object", pa.int64()), ("type", pa.string())])
    columns = {
        "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        "width": pa.int64(),
        "height": pa.int64(),
        "latex": pa.string(),
        "tokens": pa.list_(pa.string()),
        "symbols": pa.list_(pa.string()),
        "boxes": pa.list_(pa.list_(pa.float64())),
        "relations": pa.list_(relation),
        "symlg": pa.string(),
        "ink": pa.float64(),
        "seed": pa.string(),
        "index": pa.int64(),
        "weights": pa.string(),
        "x_height": pa.float64(),
        "line": pa.int64(),
        "name": pa.string(),
        "augment": pa.string(),
    }
    return pa.schema(list(columns.items()), metadata={"huggingface": json.dumps(_FEATURES)})


class ParquetFormat(PngFormat):
    """``<split>-000000.parquet``, ...: one row a sample. `datasets` finds the split in the name."""

    default_shard = 1000
    needs: ClassVar[dict[str, str]] = {"pyarrow": "parquet"}

    def begin(self, number: int) -> None:
        self._path = self.folder / f"{self.split}-{number:06d}.parquet"
        self._file: BinaryIO | None = None
        self._writer: Any = None
        self._rows: list[dict[str, Any]] = []

    def write(self, sample: Sample, label: dict[str, Any], encoded: bytes) -> None:
        self._rows.append({**label, "image": {"bytes": encoded, "path": label["image"]}})
        if len(self._rows) == ROWS_TOGETHER:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._rows:
            return
        if self._file is None:
            self._file = open(files.partial(self._path), "wb")  # noqa: SIM115 - closed by commit or abandon
            self._writer = pq.ParquetWriter(self._file, schema(), compression="zstd")
        columns = self._writer.schema
        unknown = {key for row in self._rows for key in row} - set(columns.names)
        if unknown:  # Arrow would leave it out without a word
            raise ValueError(f"labels have {', '.join(sorted(unknown))}, for which Parquet shards have no column")
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=columns))
        self._rows = []

    def commit(self) -> dict[str, str]:
        self._flush()
        if self._file is None:
            return {}
        self._writer.close()
        self._file.close()
        digest = digest_of(files.partial(self._path))
        os.replace(files.partial(self._path), self._path)
        return {self._path.name: digest}

    def abandon(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError, ValueError):  # what is buffered may not fit on the disk
                self._writer.close()
            with contextlib.suppress(OSError):
                self._file.close()
        files.partial(self._path).unlink(missing_ok=True)

    def is_own(self, name: str) -> bool:
        return re.fullmatch(rf"{re.escape(self.split)}-\d{{6,20}}\.parquet(\.part)?", name) is not None
