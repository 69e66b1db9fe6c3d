"""WebDataset shards: tar files whose members are grouped by the name before the first dot.

What comes behind it is the member's suffix: ``a.png`` is the image of sample a, ``a.v1.png`` too if it is the only one.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from hmeg.quoting import quoted

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
        suffix = _suffix(shard, sample, members, SUFFIXES)
        if suffix is None:
            if ".json" in members:
                raise ValueError(f"{shard}: {sample}.json has no image beside it")
            continue
        image, place = members[suffix], f"{shard}/{sample}{suffix}"
        label = _label(shard, sample, members, image, place)
        entries.append(Entry(prefix + sample, partial(_read, image, place), label, image.read))
    return entries


def _suffix(shard: Path, sample: str, members: Iterable[str], kinds: Sequence[str]) -> str | None:
    """Suffix of the member of one of ``kinds``; a longer one, ``.v1.png``, where none has just that."""
    plain = next((kind for kind in kinds if kind in members), None)
    longer = [suffix for suffix in members if suffix.endswith(tuple(kinds))]
    if plain is not None or not longer:
        return plain
    if len(longer) > 1:
        names = " and ".join(quoted(sample + suffix) for suffix in longer[:2])
        better = (sample + longer[0]).rpartition(".")
        raise ValueError(
            f"{shard}: {names} are two of one kind in one sample: in WebDataset a sample's name ends at the first dot; "
            f"write other characters for the dots before the last one, as in {quoted(_undotted(*better))}"
        )
    return longer[0]


def _undotted(stem: str, dot: str, suffix: str) -> str:
    folder, slash, base = stem.rpartition("/")
    return folder + slash + base.replace(".", "_") + dot + suffix


def _samples(shard: Path) -> dict[str, dict[str, Piece]]:
    """Members by sample and suffix."""
    samples: dict[str, dict[str, Piece]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if not member.isreg():
                    continue
                sample, suffix = sample_and_suffix(member.name)
                if not sample or sample.endswith("/"):  # hidden files, such as the companions that macOS adds
                    continue
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
    if (described := _suffix(shard, sample, members, (".json",))) is not None:
        text, place = members[described], f"{shard}/{sample}{described}"
        return Record(json_object(text.read(), place), text, place, partial(_size, image, image_place))
    lacks = f"{image_place} lacks its .json with tokens"
    if (typed := _suffix(shard, sample, members, (".txt",))) is None:
        return WithoutTokens(lacks)
    try:
        return WithoutTokens(lacks, members[typed].read().decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{shard}/{sample}{typed}: not UTF-8 text") from None


def _read(image: Piece, place: str) -> np.ndarray:
    return decode(image.read(), place)


def _size(image: Piece, place: str) -> tuple[int, int]:
    return size_of(image.read(), place)
