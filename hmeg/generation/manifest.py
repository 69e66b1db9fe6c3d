"""What a folder of samples is and how far it is: ``manifest.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hmeg.canvas import Canvas
from hmeg.files import write_whole

from .augmentation.plan import NONE

MANIFEST = "manifest.json"
_WAY_OUT = "choose another folder, or empty this one"
VERSION = "hmeg-run-1"
IMAGE_NOISE = "normal_noise"  # hmeg.ops.normal_noise; to be changed when that is
FIRST_IMAGE_NOISE = "numpy"  # of runs that do not say
LABELS = "typed"  # every key of a label has values of one type (:meth:`hmeg.image_sets.sample.Sample.label`)
FIRST_LABELS = "mixed"  # of runs that do not say


@dataclass(frozen=True)
class Settings:
    """Everything the samples of a run depend on, and the form they are written in.

    source   what the expressions are: a count of random ones, or the sha256 digest of a file or of arguments
    runtime  what draws the images: torch, or an exported decoder (:mod:`hmeg.generation.decoder_file`)
    augment  how images are varied (:func:`hmeg.generation.augmentation.plan.chosen`)
    image_noise  what the noise of images is made by
    size     side of square images, pixels
    canvas   "square", or the canvas of other images in words (:meth:`hmeg.Canvas.parse`)
    labels   which form labels have: a run never mixes two
    temperature  how much layouts vary, in [0, 2] (:meth:`hmeg.generation.generator.Generator.stream`)
    """

    weights: str
    precision: str
    seed: int
    count: int
    size: int
    source: str
    format: str
    split: str
    shard_size: int
    runtime: str = "torch"  # runs of before there were others do not say
    augment: str = NONE
    image_noise: str = IMAGE_NOISE
    temperature: float = 1.0
    canvas: str = "square"
    labels: str = LABELS

    @property
    def drawn_on(self) -> Canvas:
        """The canvas of the images; ``ValueError`` for one that this version does not know."""
        return Canvas.square(self.size) if self.canvas == "square" else Canvas.parse(self.canvas)

    def differences(self, other: Settings) -> str:
        """``seed 1, not 0; ...``: what is different in ``other``, first as it is here; empty if nothing is."""
        ours, theirs = asdict(self), asdict(other)
        different = [key for key in ours if ours[key] != theirs[key]]
        return "; ".join(f"{key.replace('_', ' ')} {ours[key]}, not {theirs[key]}" for key in different)


@dataclass(frozen=True)
class Shard:
    """A finished shard: the samples of ``shard_size`` consecutive indices.

    samples, rejected              how many samples it has; expressions refused whose first index falls into it
    labels_bytes, rejected_bytes   how long ``labels.jsonl`` and ``rejected.jsonl`` are with it
    files                          name -> sha256 digest and, where it is a single file, its bytes
    """

    number: int
    samples: int
    rejected: int
    labels_bytes: int
    rejected_bytes: int
    files: dict[str, dict[str, Any]]


@dataclass
class Manifest:
    """The settings of a run, its finished shards in order (they are only ever added), and whether it is complete."""

    settings: Settings
    batch_size: int
    shards: list[Shard] = field(default_factory=list)
    complete: bool = False
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    _shard_lines: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    @property
    def rejected(self) -> int:
        return sum(shard.rejected for shard in self.shards)

    def save(self, folder: Path) -> None:
        """Write it to the folder, all of it or nothing.

        Shards are put in words once: a million images in a folder are 4,000 shards, and it is written after each.
        """
        self._shard_lines += [json.dumps(asdict(shard)) for shard in self.shards[len(self._shard_lines) :]]
        values = {
            "version": VERSION,
            "settings": asdict(self.settings),
            "batch_size": self.batch_size,
            "complete": self.complete,
            "files": self.files,
        }
        without_shards = json.dumps(values, indent=1).removesuffix("\n}")
        shards = ",\n  ".join(self._shard_lines)
        write_whole(folder / MANIFEST, f'{without_shards},\n "shards": [\n  {shards}\n ]\n}}\n'.encode())

    @staticmethod
    def load(folder: Path) -> Manifest | None:
        """The manifest of a folder, or None if there is none; ``ValueError``, naming it, for one that is not ours."""
        path = folder / MANIFEST
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            raise ValueError(f"{path} is no manifest of hmeg's: it is not JSON; {_WAY_OUT}") from None
        if not isinstance(values, dict) or values.pop("version", None) != VERSION:
            raise ValueError(f"{path} is no manifest of this version of hmeg ({VERSION}); {_WAY_OUT}")
        try:
            settings = Settings(**{"image_noise": FIRST_IMAGE_NOISE, "labels": FIRST_LABELS, **values.pop("settings")})
            shards = [Shard(**shard) for shard in values.pop("shards")]
            manifest = Manifest(settings=settings, shards=shards, **values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged: {error}; {_WAY_OUT}") from None
        if [shard.number for shard in shards] != list(range(len(shards))):
            raise ValueError(f"{path} is damaged: its shards are not numbered from 0; {_WAY_OUT}")
        return manifest
