"""CROHME as a training set: prepared once from InkML, then read as images, boxes and graphs.

A prepared folder holds

    dataset.json   how it was made: version, size, stroke width, counts
    graphs.jsonl   one object an expression: name, latex, symbols, relations, boxes
    refused.jsonl  one object a refused file: name, reason
    images/        one 8-bit grey PNG an expression, ink 0 on paper 255
"""

from __future__ import annotations

import concurrent.futures
import io
import itertools
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from hmeg.files import partial, write_whole
from hmeg.graph import SymbolGraph
from hmeg.graph.vocabulary import Vocabulary
from hmeg.model.graph_batch import GraphBatch
from hmeg.workers import WorkerPool

from .inkml import read_inkml
from .relation_records import from_records, to_records
from .render import render
from .sources import iter_files

_FORMAT_VERSION = 1
_CHUNK = 64  # files a worker renders before its results are recorded


@dataclass(frozen=True)
class RenderSettings:
    """How expressions are drawn: image side, stroke width, free margin and largest median symbol, all in pixels.

    ValueError if the margin leaves no room for ink, and for what is no finite number.
    """

    size: int = 256
    stroke_width: float = 2.5
    margin: float = 6.0
    symbol_side: float = 80.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not math.isfinite(value):
                raise ValueError(f"{name.replace('_', ' ')} must be a finite number of pixels, not {value}")
        if 2 * self.margin >= self.size:
            raise ValueError(f"a margin of {self.margin:g} pixels all round leaves nothing of an image of {self.size}")


@dataclass(frozen=True)
class PrepareReport:
    """What ``prepare`` did: expressions in the folder, files refused, expressions found from an earlier run."""

    written: int
    refused: int
    reused: int


def _stem(name: str, taken: set[str]) -> str:
    """File name for an expression: its path inside the source without suffix, folders joined by ``_``."""
    stem = "_".join(Path(name).with_suffix("").parts[-2:])
    candidate, n = stem, 2
    while candidate in taken:
        candidate, n = f"{stem}~{n}", n + 1
    taken.add(candidate)
    return candidate


def _prepare_chunk(
    jobs: Sequence[tuple[str, str, int, bytes]], images: Path, settings: RenderSettings
) -> list[dict[str, Any]]:
    """Renders files and writes their PNGs; one record each, with ``reason`` if the file was refused."""
    records: list[dict[str, Any]] = []
    for stem, name, crc32, data in jobs:
        try:
            ink = read_inkml(data, name)
            Vocabulary.crohme().require(ink.graph.symbols, "models trained on CROHME")
            image, boxes = render(ink.strokes, ink.symbol_strokes, **asdict(settings))
        except ValueError as error:
            records.append({"source": name, "crc32": crc32, "reason": str(error)})
            continue
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, format="PNG")
        write_whole(images / f"{stem}.png", encoded.getvalue())
        records.append(
            {
                "name": stem,
                "source": name,
                "crc32": crc32,
                "latex": ink.latex,
                "symbols": list(ink.graph.symbols),
                "relations": to_records(ink.graph.relations),
                "boxes": [[round(float(v), 5) for v in box] for box in boxes],
            }
        )
    return records


def _read_records(path: Path, cut: bool = False) -> list[dict[str, Any]]:
    """Records of a jsonl file, but for an unfinished last line (a run that was killed, or is still at work).

    cut  also cut that line off the file, to go on writing there
    """
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if cut and len(whole) != len(data):
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None


def _read_header(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); choose another folder or remove this one") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no description of a prepared data set; choose another folder or remove this one")
    return found


def _write_header(path: Path, values: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(values, indent=1) + "\n").encode())


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def prepare(
    source: Path | str,
    out: Path | str,
    settings: RenderSettings = RenderSettings(),
    workers: int | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> PrepareReport:
    """Renders a folder, archive or file of InkML into a prepared folder (see the module's text).

    workers   processes (default: as many as the machine has cores)
    progress  called with the number of files that have just been dealt with
    May be stopped and called again with the same arguments: finished expressions are kept. ValueError if ``out`` holds
    a data set that was made with other settings or from other files of the same names, or something else.
    """
    out = Path(out)
    images = out / "images"
    description = {"format": _FORMAT_VERSION, **asdict(settings)}
    header = out / "dataset.json"
    if header.exists():
        found = _read_header(header)
        other = [key for key in description if found.get(key) != description[key]]
        if other:
            said = "; ".join(f"{key.replace('_', ' ')} {found.get(key)}, not {description[key]}" for key in other)
            raise ValueError(f"{out} was prepared with other settings ({said}); choose another folder or remove it")
    elif out.exists() and any(path != partial(header) for path in out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no prepared data set; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    if not header.exists():  # first of all: it says whose folder this is
        _write_header(header, description)
    images.mkdir(exist_ok=True)

    done = _read_records(out / "graphs.jsonl", cut=True)
    refused = _read_records(out / "refused.jsonl", cut=True)
    try:
        seen = {record["source"]: record.get("crc32") for record in done + refused}
        owners = {record["name"]: record["source"] for record in done}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{out} is a damaged data set ({error!r}): prepare it again, in another folder") from error
    taken: set[str] = set()
    counts = {"written": len(done), "refused": len(refused)}

    def jobs() -> Iterator[tuple[str, str, int, bytes]]:
        for name, data in iter_files(source, (".inkml",)):
            stem = _stem(name, taken)  # taken in the source's order, so that a resumed run gives the same names
            crc32 = zlib.crc32(data)
            # Two sources in one folder would overwrite or hide each other's expressions; None: not recorded yet.
            if seen.get(name) not in (None, crc32) or owners.get(stem, name) != name:
                raise ValueError(f"{out} was prepared from another {name} than that in {source}; choose another folder")
            if name in seen:
                progress(1)
            else:
                yield stem, name, crc32, data

    # A bounded number of chunks is in flight: the source is streamed, never held whole.
    workers = workers or os.cpu_count() or 1
    with (
        WorkerPool(workers) as pool,
        open(out / "graphs.jsonl", "a", encoding="utf-8") as graphs_file,
        open(out / "refused.jsonl", "a", encoding="utf-8") as refused_file,
    ):
        waiting: list[concurrent.futures.Future[list[dict[str, Any]]]] = []

        def record_oldest() -> None:
            records = waiting.pop(0).result()
            for record in records:
                accepted = "name" in record
                counts["written" if accepted else "refused"] += 1
                (graphs_file if accepted else refused_file).write(json.dumps(record, ensure_ascii=False) + "\n")
            graphs_file.flush()
            refused_file.flush()
            progress(len(records))

        try:
            for chunk in _chunks(jobs(), _CHUNK):
                waiting.append(pool.submit(_prepare_chunk, chunk, images, settings))
                if len(waiting) > 2 * workers:
                    record_oldest()
            while waiting:
                record_oldest()
        finally:
            pool.shutdown(cancel_futures=True)  # interrupted, it ends what was begun and begins nothing more
    _write_header(header, {**description, **counts})
    return PrepareReport(counts["written"], counts["refused"], len(done))


@dataclass
class Example:
    """One expression: its graph (with boxes) and its image, (H, W) uint8, ink 0 on paper 255."""

    graph: SymbolGraph
    image: np.ndarray


class CrohmeDataset(Dataset[Example]):
    """Expressions of a prepared folder, in the order of graphs.jsonl.

    folder       what ``prepare`` wrote
    max_symbols  longer expressions are left out (a complete graph grows with the square of its symbols)
    Raises FileNotFoundError if the folder is not a prepared one, ValueError if no expression is left.
    """

    def __init__(self, folder: Path | str, max_symbols: int | None = None) -> None:
        self.folder = Path(folder)
        if not (self.folder / "graphs.jsonl").exists():
            raise FileNotFoundError(
                f"{self.folder} holds no prepared data set (graphs.jsonl is missing): make one with `hmeg data crohme`"
            )
        self.names: list[str] = []
        self.graphs: list[SymbolGraph] = []
        try:
            self.size: int = json.loads((self.folder / "dataset.json").read_text())["size"]
            for record in _read_records(self.folder / "graphs.jsonl"):
                if max_symbols is not None and len(record["symbols"]) > max_symbols:
                    continue
                boxes = np.array(record["boxes"], dtype=np.float32)
                if not np.isfinite(boxes).all():
                    raise ValueError(f"a box of {record['name']} is not finite")
                relations = from_records(record["relations"])
                self.names.append(record["name"])
                self.graphs.append(SymbolGraph(tuple(record["symbols"]), relations, boxes, record["latex"]))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"{self.folder} is a damaged data set ({error!r}): prepare it again") from error
        if not self.graphs:
            limit = "" if max_symbols is None else f" of at most {max_symbols} symbols"
            raise ValueError(f"{self.folder} holds no expression{limit}")

    def __len__(self) -> int:
        return len(self.graphs)

    def image(self, index: int) -> np.ndarray:
        """(H, W) uint8."""
        with Image.open(io.BytesIO((self.folder / "images" / f"{self.names[index]}.png").read_bytes())) as image:
            return np.asarray(image.convert("L"))

    def __getitem__(self, index: int) -> Example:
        return Example(self.graphs[index], self.image(index))


@dataclass
class Batch:
    """Graphs with boxes, and images (N, channels, H, W) float32 in [0, 1], ink 0 on paper 1.

    glyph_modes  (V,) int64, how each symbol is written (:mod:`hmeg.data.glyphs`), where the model asks for it
    """

    graph: GraphBatch
    images: Tensor
    glyph_modes: Tensor | None = None


def collate(examples: Sequence[Example], image_channels: int = 1) -> Batch:
    """Examples -> tensors; grey images are repeated over ``image_channels``."""
    graph = GraphBatch.from_graphs([example.graph for example in examples])
    pixels = torch.from_numpy(np.stack([example.image for example in examples]))
    images = pixels.to(torch.float32).div_(255)[:, None]
    return Batch(graph, images.expand(-1, image_channels, -1, -1).contiguous())
