"""Images of expressions, wherever they are: what measures and recognisers read.

a folder that `hmeg data crohme` prepared             labels and boxes
a folder that `hmeg generate` wrote, in any format     labels; boxes in folders and shards
a WebDataset shard, or a folder of them                labels and boxes where the samples' json has them
what CAN trains on: <split>_images.pkl                 labels of <split>_labels.txt
what CoMER trains on: a zip archive                    labels of its caption.txt
any folder of PNG, JPEG or BMP files                   no labels
"""

from __future__ import annotations

import json
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hmeg.data.sources import MAX_FILE_BYTES
from hmeg.graph import Relation, SymbolGraph
from hmeg.graph.baselines import baseline_from, to_latex
from hmeg.graph.latex import parse_latex

from .can.image_pickle import read_images
from .image_files import decode, sample_and_suffix, width_of

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_LABELS = "labels.jsonl"
_SAMPLED_FOR_POLARITY = 16


@dataclass(frozen=True)
class Entry:
    """One image of a set, not read yet.

    name   unique in its set
    label  the expression as LaTeX tokens (:func:`canonical_label`), None where nobody says
    graph  the expression with boxes in [0, 1] of the image, where they are known
    read   gives the image as it is stored: (H, W) uint8
    """

    name: str
    label: str | None
    graph: SymbolGraph | None
    read: Callable[[], np.ndarray]


class ImageSet(Sequence[np.ndarray]):
    """Images by number, each (H, W) uint8, dark ink on light paper; read when asked for.

    source    where they are
    kind      what was found there, in words
    inverted  whether they are stored as light ink on dark paper (and are turned round on reading); None: by their looks
    """

    def __init__(self, source: Path, kind: str, entries: Sequence[Entry], inverted: bool | None = None) -> None:
        if not entries:
            raise ValueError(f"{source}: {kind} without a single image")
        twice = [name for name, count in Counter(entry.name for entry in entries).items() if count > 1]
        if twice:
            raise ValueError(f"{source}: two images are called {twice[0]!r}")
        self.source, self.kind = source, kind
        self.entries = list(entries)
        self.inverted = _dark_paper(self.entries) if inverted is None else inverted

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]  # one image at a time
        pixels = self.entries[index].read()
        return 255 - pixels if self.inverted else pixels

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]

    @property
    def labels(self) -> list[str | None]:
        return [entry.label for entry in self.entries]

    def part(self, rows: Sequence[int]) -> ImageSet:
        """The images of those rows, as a set."""
        chosen = object.__new__(ImageSet)
        chosen.source, chosen.kind, chosen.inverted = self.source, self.kind, self.inverted
        chosen.entries = [self.entries[row] for row in rows]
        return chosen

    def described(self) -> str:
        """``CAN pickle, 985 images, 985 labelled``."""
        labelled = sum(label is not None for label in self.labels)
        light = ", light ink on dark paper turned round" if self.inverted else ""
        return f"{self.kind}, {len(self)} images, {labelled} labelled{light}"


def _dark_paper(entries: Sequence[Entry]) -> bool:
    """Paper outweighs ink by far: images that are dark on the whole have dark paper. Looks at 16 of them."""
    step = max(1, len(entries) // _SAMPLED_FOR_POLARITY)
    return bool(np.median([entry.read().mean() for entry in entries[::step]]) < 127.5)


def canonical_label(latex: str) -> str:
    """The tokens of an expression, separated by blanks, the same however it was typed.

    LaTeX beyond the 101 symbols stays as it is, with blanks made single.
    """
    try:
        return to_latex(baseline_from(parse_latex(latex)))
    except ValueError:
        return " ".join(latex.split())


def open_images(path: Path | str) -> ImageSet:
    """The images at ``path``; ``ValueError`` or ``OSError``, naming it, where there are none or they are damaged."""
    path = Path(path)
    if path.is_file():
        opener = {".pkl": _open_can, ".zip": _open_comer, ".tar": _open_shard}.get(path.suffix.lower())
        if opener is None:
            raise ValueError(
                f"{path}: no set of images; known files are .pkl (CAN), .zip (CoMER) and .tar (WebDataset)"
            )
        return opener(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    if (path / "graphs.jsonl").is_file():
        return _open_prepared(path)
    pickles, archives, shards = (sorted(path.glob(pattern)) for pattern in ("*_images.pkl", "*.zip", "*.tar"))
    images = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
    if pickles:
        return _open_can(_only(path, pickles))
    if archives:
        return _open_comer(_only(path, archives))
    if shards:
        return _open_shards(path, shards)
    if (path / _LABELS).is_file():
        return _open_run(path)
    if images:
        entries = [Entry(file.name, None, None, partial(_read_file, file)) for file in images]
        return ImageSet(path, "folder of images", entries)
    raise ValueError(
        f"{path}: no images found. It may be a folder of PNG, JPEG or BMP files, a folder made by `hmeg generate` or "
        "`hmeg data crohme`, WebDataset shards (.tar), a CAN pickle (*_images.pkl) or a CoMER archive (.zip)"
    )


def _only(folder: Path, files: list[Path]) -> Path:
    if len(files) > 1:
        raise ValueError(
            f"{folder} holds several sets ({', '.join(file.name for file in files)}): give one of these files"
        )
    return files[0]


def _read_file(path: Path) -> np.ndarray:
    return decode(path.read_bytes(), str(path))


def _graph_of(record: dict[str, Any], side: float) -> SymbolGraph:
    """The graph of a record with symbols, relations and boxes; ``side`` is what boxes are divided by."""
    relations = tuple(Relation(int(s), int(o), str(name)) for s, o, name in record["relations"])
    boxes = np.asarray(record["boxes"], dtype=np.float64) / side
    return SymbolGraph(tuple(record["symbols"]), relations, boxes.astype(np.float32), record.get("latex"))


def _label_of(graph: SymbolGraph) -> str | None:
    try:
        return to_latex(baseline_from(graph))
    except ValueError:
        return None if graph.latex is None else canonical_label(graph.latex.strip("$ "))


def _records(path: Path) -> list[dict[str, Any]]:
    """Records of a jsonl file, but for an unfinished last line."""
    content = path.read_bytes()
    try:
        return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    except ValueError as error:
        raise ValueError(f"{path}: not a file of JSON lines ({error})") from None


def _open_prepared(folder: Path) -> ImageSet:
    from hmeg.data.crohme import CrohmeDataset  # it imports torch's data sets

    data = CrohmeDataset(folder)
    entries = [
        Entry(name, _label_of(graph), graph, partial(_read_file, folder / "images" / f"{name}.png"))
        for name, graph in zip(data.names, data.graphs, strict=True)
    ]
    return ImageSet(folder, "prepared data set", entries, inverted=False)


def _from_label(record: dict[str, Any], side: Callable[[], float]) -> tuple[str | None, SymbolGraph | None]:
    """Label and graph of what `hmeg generate` says about a sample; ``side`` of its image in pixels."""
    if record.get("boxes") and record.get("symbols"):
        graph = _graph_of(record, side())
        return _label_of(graph), graph
    tokens = record.get("tokens")
    if tokens:
        return canonical_label(" ".join(tokens)), None
    return (canonical_label(record["latex"]) if record.get("latex") else None), None


def _open_run(folder: Path) -> ImageSet:
    entries: list[Entry] = []
    side: int | None = None
    for record in _records(folder / _LABELS):
        try:
            name = str(record["image"])
            path = folder / PurePosixPath(name).name  # never outside the folder, whatever the label says
            if side is None:
                side = _read_file(path).shape[1]
            label, graph = _from_label(record, partial(float, side))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{folder / _LABELS}: damaged, line {len(entries) + 1}: {error}") from None
        entries.append(Entry(name, label, graph, partial(_read_file, path)))
    return ImageSet(folder, "folder of hmeg generate", entries, inverted=False)


def _open_shard(path: Path) -> ImageSet:
    return ImageSet(path, "WebDataset shard", _shard_entries(path, ""))


def _open_shards(folder: Path, shards: list[Path]) -> ImageSet:
    several = len(shards) > 1
    entries = [entry for shard in shards for entry in _shard_entries(shard, f"{shard.name}/" if several else "")]
    own = False if (folder / "manifest.json").is_file() else None  # hmeg generate's ink is dark
    return ImageSet(folder, f"WebDataset, {len(shards)} shard{'s' * several}", entries, inverted=own)


def _read_slice(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _read_member(path: Path, name: str, offset: int, size: int) -> np.ndarray:
    return decode(_read_slice(path, offset, size), f"{path}/{name}")


def _width(path: Path, name: str, offset: int, size: int) -> float:
    return float(width_of(_read_slice(path, offset, size), f"{path}/{name}"))


def _shard_entries(path: Path, prefix: str) -> list[Entry]:
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isfile():
                    stem, suffix = sample_and_suffix(member.name)
                    samples.setdefault(stem, {})[suffix.lower()] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable tar archive ({error})") from None
    entries = []
    for stem, members in samples.items():
        image = next((suffix for suffix in _SUFFIXES if suffix in members), None)
        if image is None:
            continue
        read = partial(_read_member, path, stem + image, *members[image])
        label: str | None = None
        graph: SymbolGraph | None = None
        try:
            if ".json" in members:
                record = json.loads(_read_slice(path, *members[".json"]))
                label, graph = _from_label(record, partial(_width, path, stem + image, *members[image]))
            elif ".txt" in members:
                label = canonical_label(_read_slice(path, *members[".txt"]).decode())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: the label of {stem} is damaged: {error}") from None
        entries.append(Entry(prefix + stem, label, graph, read))
    return entries


def _captions(lines: str, where: str) -> dict[str, str]:
    """Labels by name, of lines ``name token token ...``."""
    labels = {}
    for line in lines.splitlines():
        name, _, tokens = line.strip().replace("\t", " ").partition(" ")
        if name:
            labels[name] = canonical_label(tokens)
    if not labels:
        raise ValueError(f"{where}: no line `name token token ...`")
    return labels


def _open_can(path: Path) -> ImageSet:
    images = read_images(path)
    labels_path = path.with_name(path.name.removesuffix("_images.pkl") + "_labels.txt")
    labels = {}
    if path.name.endswith("_images.pkl") and labels_path.is_file():
        labels = _captions(labels_path.read_text(encoding="utf-8", errors="replace"), str(labels_path))
    entries = [Entry(name, labels.get(name), None, partial(_as_it_is, array)) for name, array in images.items()]
    return ImageSet(path, "CAN pickle", entries, inverted=False)


def _as_it_is(array: np.ndarray) -> np.ndarray:
    return array


_BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_FILE_BYTES:
        raise ValueError(f"{archive.filename}/{name} is larger than any image or list of labels read here")
    return archive.read(name)


@lru_cache(maxsize=1)
def _archive(path: Path, changed: int) -> zipfile.ZipFile:
    """Kept open: its directory is read once, not for every image. ``changed``: when the file last did."""
    return zipfile.ZipFile(path)


def _read_zipped(path: Path, name: str) -> np.ndarray:
    try:
        return decode(_member(_archive(path, path.stat().st_mtime_ns), name), f"{path}/{name}")
    except _BAD_ZIP as error:
        raise ValueError(f"{path}/{name}: cannot be read ({error})") from None


def _open_comer(path: Path) -> ImageSet:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if PurePosixPath(name).suffix.lower() in _SUFFIXES]
            captions = {
                str(PurePosixPath(name).parent): _member(archive, name).decode("utf-8", errors="replace")
                for name in archive.namelist()
                if PurePosixPath(name).name == "caption.txt"
            }
    except _BAD_ZIP as error:
        raise ValueError(f"{path}: not a readable zip archive ({error})") from None
    labels = {folder: _captions(lines, f"{path}/{folder}/caption.txt") for folder, lines in captions.items()}
    several = len({str(PurePosixPath(name).parent) for name in names}) > 1
    entries = []
    for name in names:
        image = PurePosixPath(name)
        of_split = labels.get(str(image.parent.parent), labels.get(str(image.parent), {}))
        entry = name if several else image.stem
        entries.append(Entry(entry, of_split.get(image.stem), None, partial(_read_zipped, path, name)))
    return ImageSet(path, "CoMER archive", entries, inverted=True)
