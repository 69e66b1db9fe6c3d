"""Labelled images for recognisers, from whatever form they are in: :func:`open_source` looks and chooses.

    a run of hmeg generate     labels.jsonl and PNG files, WebDataset shards, or CAN's pickle
    WebDataset shards          a .tar, or a folder of them, with .png and .json (``tokens``) of every sample
    CAN's own files            <split>_images.pkl (or a folder with one) beside <split>_labels.txt
    a prepared data set        graphs.jsonl and images/, made by hmeg data crohme

Images are read when asked for, but for a pickle's, which come all at once.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from hmeg.evaluation.image_files import decode, sample_and_suffix

from .image_pickle import read_images

_PICKLE = "_images.pkl"
_LABELS = "_labels.txt"
ACCEPTED = (
    "a folder written by hmeg generate (--format folder, webdataset or can), WebDataset shards (.tar),"
    f" CAN's *{_PICKLE} with *{_LABELS} beside it, or a folder made by hmeg data crohme"
)


class Source(ABC):
    """Labelled images in one place.

    names     of the expressions, as messages and reports show them
    tokens    of each expression
    left_out  what could not be used: text for people
    digest    changes when the labels do
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] = []
        self.tokens: list[tuple[str, ...]] = []
        self.left_out: list[str] = []
        self.digest = ""

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def image(self, row: int) -> np.ndarray:
        """(H, W) uint8, dark ink on light paper. ValueError, naming the image, for one that cannot be read."""


class CanFiles(Source):
    """``<split>_images.pkl`` and ``<split>_labels.txt``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        labels = path.with_name(path.name.removesuffix(_PICKLE) + _LABELS)
        images = read_images(path)
        content = _read(labels)
        try:
            lines = content.decode("utf-8").splitlines()
        except UnicodeDecodeError:
            raise ValueError(f"{labels} is no file of labels: not UTF-8 text") from None
        self._images: list[np.ndarray] = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            name, *tokens = line.split()
            image = images.get(name, images.get(Path(name).stem))
            if image is None:
                raise ValueError(f"{labels}, line {number}: {path.name} has no image {name!r}")
            self.names.append(name)
            self.tokens.append(tuple(tokens))
            self._images.append(image)
        self.digest = _digest(content, path.read_bytes())

    def image(self, row: int) -> np.ndarray:
        return self._images[row]


class RunFolder(Source):
    """``labels.jsonl`` and PNG files."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        content = _read(path / "labels.jsonl")
        self._files: list[Path] = []
        for number, label in _json_lines(content, path / "labels.jsonl"):
            place = f"{path / 'labels.jsonl'}, line {number}"
            name, tokens = _text_of(label, "image", place), _tokens_of(label, place)
            if Path(name).name != name or name in ("", ".", ".."):
                raise ValueError(f"{place}: {name!r} is no name of a file in this folder")
            if tokens is None:
                self.left_out.append(f"{name}: a graph that has no LaTeX")
                continue
            self.names.append(name)
            self.tokens.append(tokens)
            self._files.append(path / name)
        self.digest = _digest(content)

    def image(self, row: int) -> np.ndarray:
        return decode(_read(self._files[row]), str(self._files[row]))


class TarShards(Source):
    """WebDataset shards; images are read from where they lie in the archives, nothing is unpacked."""

    def __init__(self, path: Path, shards: Sequence[Path]) -> None:
        super().__init__(path)
        self._places: list[tuple[Path, int, int]] = []
        digest = hashlib.sha256()
        for shard in shards:
            for name, label, place in _members(shard):
                digest.update(f"{name} {label}".encode())
                tokens = _tokens_of(label, f"{shard}, {name}.json")
                if tokens is None:
                    self.left_out.append(f"{shard.name}/{name}: a graph that has no LaTeX")
                    continue
                self.names.append(f"{shard.name}/{name}")
                self.tokens.append(tokens)
                self._places.append((shard, *place))
        self.digest = digest.hexdigest()

    def image(self, row: int) -> np.ndarray:
        shard, offset, size = self._places[row]
        try:
            with shard.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise ValueError(f"{shard}: {error.strerror}") from error
        return decode(data, f"{shard}, image {self.names[row]}")


class PreparedSet(Source):
    """A folder of ``hmeg data crohme``; LaTeX is written from the graphs, so that one graph has one spelling."""

    def __init__(self, path: Path) -> None:
        from hmeg.data.crohme import CrohmeDataset
        from hmeg.graph.baselines import baseline_from, to_latex

        super().__init__(path)
        self._dataset = CrohmeDataset(path)
        self._rows: list[int] = []
        for row, (name, graph) in enumerate(zip(self._dataset.names, self._dataset.graphs, strict=True)):
            try:
                tokens = to_latex(baseline_from(graph)).split()
            except ValueError as error:
                self.left_out.append(f"{name}: {error}")
                continue
            self.names.append(name)
            self.tokens.append(tuple(tokens))
            self._rows.append(row)
        self.digest = _digest(_read(path / "graphs.jsonl"), _read(path / "dataset.json"))

    def image(self, row: int) -> np.ndarray:
        try:
            return self._dataset.image(self._rows[row])
        except (OSError, UnidentifiedImageError) as error:
            raise ValueError(f"{self.path}: the image of {self.names[row]} cannot be read ({error})") from None


def open_source(path: Path) -> Source:
    """The labelled images at ``path``; ValueError, saying what is accepted, where there are none."""
    if path.is_file():
        if path.name.endswith(_PICKLE):
            return CanFiles(path)
        if path.suffix == ".tar":
            return TarShards(path, [path])
        raise ValueError(f"{path} is no data for a recogniser: give {ACCEPTED}")
    if not path.is_dir():
        raise ValueError(f"{path} does not exist")
    if (path / "graphs.jsonl").exists():
        return PreparedSet(path)
    pickles = sorted(path.glob(f"*{_PICKLE}"))
    if len(pickles) > 1:
        names = ", ".join(p.name for p in pickles)
        raise ValueError(f"{path} has several sets of images ({names}): give the file instead of the folder")
    if pickles:
        return CanFiles(pickles[0])
    shards = sorted(path.glob("*.tar"))
    if shards:
        return TarShards(path, shards)
    if (path / "labels.jsonl").exists():
        if (path / "data.zip").exists():
            raise ValueError(f"{path} was written for CoMER (--format comer), which is not read here: give {ACCEPTED}")
        return RunFolder(path)
    raise ValueError(f"{path} holds no data for a recogniser: give {ACCEPTED}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()


def _json_lines(content: bytes, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects, but for half a last line, which a run that is still at work may leave."""
    whole = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(whole.splitlines(), 1):
        yield number, _object(line, f"{path}, line {number}")


def _object(text: bytes, place: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{place} is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f"{place} must be an object, got {type(found).__name__}")
    return found


def _text_of(label: dict[str, Any], key: str, place: str) -> str:
    value = label.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{place}: {key!r} must be text, got {value!r}")
    return value


def _tokens_of(label: dict[str, Any], place: str) -> tuple[str, ...] | None:
    """The tokens of a label; None where it says that there are none."""
    if "tokens" not in label:
        raise ValueError(f"{place}: the label has no 'tokens'")
    tokens = label["tokens"]
    if tokens is None:
        return None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError(f"{place}: 'tokens' must be a list of texts")
    return tuple(tokens)


def _members(shard: Path) -> Iterator[tuple[str, dict[str, Any], tuple[int, int]]]:
    """Of every sample in an archive: its name, its label, and offset and size of its PNG file."""
    places: dict[str, tuple[int, int]] = {}
    labels: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                name, suffix = sample_and_suffix(member.name)
                if member.isreg() and suffix == ".png":
                    places[name] = (member.offset_data, member.size)
                elif member.isreg() and suffix == ".json":
                    file = archive.extractfile(member)
                    assert file is not None  # a regular file has content
                    labels[name] = _object(file.read(), f"{shard}, {member.name}")
    except OSError as error:
        raise ValueError(f"{shard}: {error.strerror or error}") from error
    except tarfile.TarError as error:
        raise ValueError(f"{shard} is no readable tar archive ({error})") from None
    odd = sorted(places.keys() ^ labels.keys())
    if odd or not places:
        reason = f"{odd[0]} lacks its .png or its .json" if odd else "no .png in it"
        raise ValueError(f"{shard} holds no samples of labelled images: {reason}")
    for name, place in places.items():
        yield name, labels[name], place
