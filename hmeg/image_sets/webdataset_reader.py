"""WebDataset shards: tar files whose members are grouped by the name before the dot."""

from __future__ import annotations

import tarfile
from functools import partial
from pathlib import Path

import numpy as np

from .image_files import SUFFIXES, Piece, decode, sample_and_suffix, size_of
from .image_set import Entry, ImageSet
from .labels import Label, Record, WithoutTokens, json_object


def open_shards(source: Path, shards: list[Path]) -> ImageSet:
    """The samples of all shards; where there are several, a name begins with its shard's."""
    several = len(shards) > 1
    entries = [entry for shard in shards for entry in _entries(shard, f"{shard.name}/" if several else "")]
    own = False if (source / "manifest.json").is_file() else None  # hmeg generate's ink is dark
    return ImageSet(source, f"WebDataset, {len(shards)} shard{'s' * several}", entries, inverted=own)


def _entries(shard: Path, prefix: str) -> list[Entry]:
    entries = []
    for sample, members in _samples(shard).items():
        suffix = next((suffix for suffix in SUFFIXES if suffix in members), None)
        if suffix is None:
            if ".json" in members:
                raise ValueError(f"{shard}: {sample}.json has no image beside it")
            continue
        image, place = members[suffix], f"{shard}/{sample}{suffix}"
        label = _label(shard, sample, members, image, place)
        entries.append(Entry(prefix + sample, partial(_read, image, place), label, image.read))
    return entries


def _samples(shard: Path) -> dict[str, dict[str, Piece]]:
    """Members by sample and suffix."""
    samples: dict[str, dict[str, Piece]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if not member.isreg():
                    continue
                sample, suffix = sample_and_suffix(member.name)
                members = samples.setdefault(sample, {})
                if suffix.lower() in members:
                    raise ValueError(f"{member.name} is in it twice")
                members[suffix.lower()] = Piece(shard, member.offset_data, member.size)
            # tarfile takes an archive that breaks off between two members for a whole one
            with shard.open("rb") as file:
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise ValueError("it breaks off")
    except (tarfile.TarError, ValueError) as error:
        raise ValueError(f"{shard}: not a readable tar archive ({error})") from None
    return samples


def _label(shard: Path, sample: str, members: dict[str, Piece], image: Piece, image_place: str) -> Label:
    if (text := members.get(".json")) is not None:
        place = f"{shard}/{sample}.json"
        return Record(json_object(text.read(), place), text, place, partial(_size, image, image_place))
    lacks = f"{image_place} lacks its .json with tokens"
    if ".txt" not in members:
        return WithoutTokens(lacks)
    try:
        return WithoutTokens(lacks, members[".txt"].read().decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{shard}/{sample}.txt: not UTF-8 text") from None


def _read(image: Piece, place: str) -> np.ndarray:
    return decode(image.read(), place)


def _size(image: Piece, place: str) -> tuple[int, int]:
    return size_of(image.read(), place)
