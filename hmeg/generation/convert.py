"""A finished run written again in another form: same images, labels and rejections.

Expressions that the other form cannot say are rejected there, as they are when a run is drawn in it.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hmeg import files
from hmeg.data.relation_records import from_records
from hmeg.graph import SymbolGraph
from hmeg.image_sets import encoding
from hmeg.image_sets.formats import FORMATS
from hmeg.image_sets.labels import json_object
from hmeg.image_sets.sample import Sample
from hmeg.image_sets.stored import Stored, stored_images

from .manifest import LABELS as LABEL_FORM
from .manifest import MANIFEST, Manifest, Settings
from .overview import is_shown
from .run import Run
from .run_files import LABELS, REJECTED

Record = tuple[int, dict[str, Any], str]  # index, label, and the place of the label in words


def finished_run(folder: Path) -> Manifest:
    """The manifest of a finished run; ``ValueError``, saying what to do, for anything else."""
    manifest = Manifest.load(folder)
    if manifest is None:
        raise ValueError(f"{folder} holds no run of hmeg generate: there is no {MANIFEST} in it")
    if not manifest.complete:
        raise ValueError(
            f"{folder} holds a run that is not finished ({manifest.samples} images in finished shards): finish it with "
            "the command that began it, then convert it"
        )
    return manifest


def converted_settings(manifest: Manifest, form: str, split: str | None, shard_size: int | None) -> Settings:
    """What a run's settings become in another form: the rest stays, for it is what the samples depend on.

    split       None: that of the run
    shard_size  None: what the form has by itself
    """
    return replace(
        manifest.settings,
        format=form,
        split=split or manifest.settings.split,
        shard_size=shard_size or FORMATS[form].default_shard,
        labels=LABEL_FORM,
    )


def convert(
    source: Path,
    out: Path,
    settings: Settings,
    overwrite: bool = False,
    progress: Callable[[int], object] = lambda count: None,
) -> int:
    """Write the run in ``source`` to ``out``, one sample after the other, and return how many samples it has.

    settings   as :func:`converted_settings` gives them
    overwrite  remove an earlier run from ``out`` first, as for :class:`Run`
    progress   called with the number of samples that have just been dealt with

    What is written is a run in turn: stopped, the same call goes on after the last finished shard. Images that are PNG
    files in both forms are copied as they are. Errors are those of :class:`Run`; ``ValueError`` too, naming the place,
    for a source that is damaged, not finished, or the same folder as ``out``.
    """
    manifest = finished_run(source)
    if files.same_place(str(source), str(out)):
        raise ValueError(f"{source} cannot be converted into itself: choose another folder")
    with Run(out, settings, manifest.batch_size, overwrite) as run:
        if run.manifest.complete:
            progress(run.written)
        else:
            _copy(source, manifest, run, progress)
        run.finish()
        return run.written


def _copy(source: Path, manifest: Manifest, run: Run, progress: Callable[[int], object]) -> None:
    shards = [name for shard in manifest.shards for name in shard.files]
    image = stored_images(source, manifest.settings.format, manifest.settings.split, shards)
    finished = run.next_shard
    if not finished:
        run.begin(0)  # with all rejections: a run does not keep which shard each is of
        for rejection, _ in _lines(source / REJECTED):
            run.reject(rejection["line"], rejection["text"], rejection["reason"])
    begun = not finished
    size = run.settings.shard_size
    for number, samples in itertools.groupby(_records(source), lambda record: record[0] // size):
        if number < finished:
            for _, label, place in samples:
                _image(image, label, place)  # readers go forward only
                progress(1)
            continue
        if begun and number != run.next_shard:
            run.commit()
            begun = False
        if not begun:
            run.begin(number)
        for index, label, place in samples:
            sample, encoded = _sample(image, label, place, run)
            try:
                run.format.check(sample.graph)
            except ValueError as error:  # one that this form cannot say does not end the run
                line = index // run.settings.count + 1 if sample.line is None else sample.line
                run.reject(line, sample.latex or "", str(error))
            else:
                run.write(sample, encoded)
            progress(1)
        run.commit()
        begun = False
    if begun:
        run.commit()


def _records(source: Path) -> Iterator[Record]:
    last = -1
    for label, place in _lines(source / LABELS):
        index = label.get("index")
        if not isinstance(index, int) or index <= last:
            raise ValueError(f"{place}: index {index!r} after {last}; labels stand in the order of their indices")
        last = index
        yield index, label, place


def _sample(image: Callable[[str], Stored], label: dict[str, Any], place: str, run: Run) -> tuple[Sample, Any]:
    """A sample, with its pixels where they are needed, and what the run's form takes for its image."""
    stored = _image(image, label, place)
    as_it_is = isinstance(stored, bytes) and run.format.encode is encoding.png
    if as_it_is and {"ink", "width", "height"} <= label.keys() and not is_shown(run.written):
        return _described(label, np.empty((0, 0), np.uint8), place), stored
    pixels = _pixels(stored, place) if isinstance(stored, bytes) else stored
    return _described(label, pixels, place), stored if as_it_is else run.format.encode(pixels)


def _image(image: Callable[[str], Stored], label: dict[str, Any], place: str) -> Stored:
    name = label.get("image")
    if not isinstance(name, str):
        raise ValueError(f"{place}: 'image' must be text, got {name!r}")
    return image(name)


def _pixels(data: bytes, place: str) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8, as it was drawn."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
            if opened.mode not in ("L", "RGB"):
                raise ValueError(f"an image of mode {opened.mode}, which hmeg does not write")
            return np.asarray(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{place}: its image cannot be read ({error})") from None


def _described(label: dict[str, Any], pixels: np.ndarray, place: str) -> Sample:
    """The sample that ``label`` tells of; tokens and symLG are made anew, in the form they have today."""
    try:
        symbols = tuple(label["symbols"])
        graph = SymbolGraph(symbols, from_records(label["relations"]), latex=label["latex"])
        boxes = np.asarray(label["boxes"], np.float64).reshape(len(graph), 4)
        augment = label.get("augment")
        known = {field.name: label[field.name] for field in fields(Sample) if field.name in label}
        changed = {
            "array": pixels,
            "graph": graph,
            "boxes": boxes,
            "seed": int(label["seed"]),
            "augment": json.loads(augment) if isinstance(augment, str) else augment,
        }
        sample = Sample(**{**known, **changed})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{place}: the label is damaged ({error!r})") from None
    if "ink" in label:
        sample.__dict__["ink"] = label["ink"]  # where a cached property keeps what it has found out
    if {"width", "height"} <= label.keys():
        sample.__dict__["shape"] = (int(label["width"]), int(label["height"]))
    return sample


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            place = f"{path}, line {number}"
            yield json_object(line, place), place
