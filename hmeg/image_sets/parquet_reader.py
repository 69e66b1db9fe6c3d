"""Parquet files with images as Hugging Face's `datasets` writes them, and as `hmeg generate --format parquet` does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .image_files import check_bytes, decode, size_of
from .image_set import Entry, ImageSet
from .labels import Label, Record, WithoutTokens
from .parquet_writer import ParquetFormat

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_IMAGE, _BYTES, _PATH = "image", "bytes", "path"
_LABELS = ("latex", "tokens", "symbols", "relations", "boxes")
_LARGEST_GROUP = 1 << 30  # bytes of a row group, which is read as a whole


def open_parquet(source: Path, shards: Sequence[Path]) -> ImageSet:
    """The rows of all files; where there are several, a name begins with its file's."""
    ParquetFormat.require()
    several = len(shards) > 1
    entries = [entry for shard in shards for entry in _entries(shard, f"{shard.name}/" if several else "")]
    own = False if (source / "manifest.json").is_file() else None  # hmeg generate's ink is dark
    return ImageSet(source, f"Parquet, {len(shards)} file{'s' * several}", entries, inverted=own)


def stream_parquet(shard: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the images of one file, in order, a row group at a time."""
    ParquetFormat.require()
    for group in range(_opened(shard).num_row_groups):
        for number, image in enumerate(_group(shard, shard.stat().st_mtime_ns, group).column(_IMAGE).to_pylist()):
            place = f"{shard}, row {number} of group {group}"
            yield _name(image, place), _bytes(image, place)


@dataclass(frozen=True, slots=True)
class _Row:
    """Where a sample stands: the row of a row group."""

    shard: Path
    group: int
    row: int

    def values(self, column: str) -> Any:
        return _group(self.shard, self.shard.stat().st_mtime_ns, self.group).column(column)[self.row].as_py()

    def image(self) -> bytes:
        return _bytes(self.values(_IMAGE), str(self))

    def read(self) -> bytes:
        """Its label as a JSON object, as other forms hold it."""
        columns = _group(self.shard, self.shard.stat().st_mtime_ns, self.group).column_names
        return json.dumps({name: self.values(name) for name in _LABELS if name in columns}).encode()

    def __str__(self) -> str:
        return f"{self.shard}, row {self.row} of group {self.group}"


def _entries(shard: Path, prefix: str) -> Iterator[Entry]:
    file = _opened(shard)
    names = set(file.schema_arrow.names)
    light = [name for name in ("latex", "tokens") if name in names]
    for group in range(file.num_row_groups):
        table = _read_group(shard, group, [f"{_IMAGE}.{_PATH}", *light])
        for number, record in enumerate(table.to_pylist()):
            row = _Row(shard, group, number)
            name = _name(record.pop(_IMAGE), str(row))
            yield Entry(prefix + name, partial(_pixels, row), _label(record, row), row.image)


def _label(record: dict[str, Any], row: _Row) -> Label:
    if "tokens" in record:
        return Record(record, row, str(row), partial(_size, row))
    latex = record.get("latex")
    return WithoutTokens(f"{row} has no column 'tokens'", latex if isinstance(latex, str) else "")


def _opened(shard: Path) -> pyarrow.parquet.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(shard)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{shard}: not a readable Parquet file ({error})") from None
    kind = file.schema_arrow.field(_IMAGE).type if _IMAGE in file.schema_arrow.names else None
    if kind is None or not pa.types.is_struct(kind) or {field.name for field in kind} < {_BYTES, _PATH}:
        raise ValueError(f"{shard} has no column 'image' of bytes and path, as Hugging Face's image feature has")
    return file


@lru_cache(maxsize=4)
def _group(shard: Path, changed: int, group: int) -> pyarrow.Table:
    """Kept: neighbours are mostly read one after the other. ``changed``: when the file last did."""
    return _read_group(shard, group, None)


def _read_group(shard: Path, group: int, columns: list[str] | None) -> pyarrow.Table:
    import pyarrow as pa

    file = _opened(shard)
    size = file.metadata.row_group(group).total_byte_size
    if not 0 <= size <= _LARGEST_GROUP:
        raise ValueError(f"{shard}: a row group of {size:,} bytes is more than is read here")
    try:
        return file.read_row_group(group, columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{shard}: row group {group} cannot be read ({error})") from None


def _name(image: dict[str, Any] | None, place: str) -> str:
    name = (image or {}).get(_PATH)
    return name if isinstance(name, str) and name else place.rpartition("/")[2]


def _bytes(image: dict[str, Any] | None, place: str) -> bytes:
    data = (image or {}).get(_BYTES)
    if not isinstance(data, bytes):
        raise ValueError(f"{place} holds no bytes of an image")
    check_bytes(len(data), place)
    return data


def _pixels(row: _Row) -> np.ndarray:
    return decode(row.image(), str(row))


def _size(row: _Row) -> tuple[int, int]:
    return size_of(row.image(), str(row))
