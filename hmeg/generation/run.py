"""A run in its folder: whatever happens, what is finished is valid, and the same command goes on from there."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from hmeg.files import PART, JsonLines, partial, remove_empty
from hmeg.image_sets.format import digest_of
from hmeg.image_sets.formats import FORMATS, Format
from hmeg.image_sets.sample import Sample

from .manifest import MANIFEST, Manifest, Settings, Shard
from .overview import Overview
from .report import write_report
from .run_files import CARDS, CONTACT_SHEET, LABELS, REJECTED, REPORT, TIMING

STANDARD_INPUT = "standard input"


class Run:
    """The folder of a run: new, or an unfinished one of the same settings, which is gone on with.

        images              as ``settings.format`` says (:mod:`hmeg.image_sets.formats`)
        labels.jsonl        one object a sample, in the order drawn
        rejected.jsonl      one object an expression that could not be used: line, text, reason
        contact_sheet.png   samples from all of the run (:mod:`hmeg.generation.overview`)
        manifest.json       settings and finished shards (:mod:`hmeg.generation.manifest`)
        timing.jsonl        seconds every shard took
        report.html         what the run has become (:mod:`hmeg.generation.report`), when it is finished

    For every shard from :attr:`next_shard` on: :meth:`begin`, :meth:`write` and :meth:`reject`, :meth:`commit`; after
    the last one :meth:`finish`. Use as a context manager.

    ``FileExistsError`` for a folder that holds a run of other settings, unless ``overwrite``, which removes that run
    and nothing else, and for files of our names where no run of ours is. ``BlockingIOError`` while another process
    writes there. ``OSError`` when the disk says no. ``ValueError`` for a damaged run, and without a library that the
    form needs.
    """

    def __init__(
        self, folder: str | os.PathLike[str], settings: Settings, batch_size: int = 1, overwrite: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.settings = settings
        FORMATS[settings.format].require()  # before anything is made or removed
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            what = "a file" if self.folder.exists() else "a link to nothing"
            raise NotADirectoryError(f"{self.folder} is {what}, not a folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
        try:
            self.format: Format = FORMATS[settings.format](self.folder, settings.split)
            self.manifest = self._earlier(overwrite) or Manifest(settings, batch_size)
            last = self.manifest.shards[-1] if self.manifest.shards else None
            self._check_files()
            self._overview = Overview(self.folder, self.manifest.samples)
            self._labels = JsonLines(self.folder / LABELS, last.labels_bytes if last else 0)
            self._rejections = JsonLines(self.folder / REJECTED, last.rejected_bytes if last else 0)
            self._timing = JsonLines(self.folder / TIMING, _whole_lines(self.folder / TIMING) if last else 0)
            if not last:
                self.manifest.save(self.folder)
        except BaseException:
            os.close(self._lock)
            raise
        self.written = self.manifest.samples
        self.rejected = self.manifest.rejected
        self.pixels = self._pixels_before = 0
        self._waiting: list[dict[str, Any]] = []
        self._begun = False
        self._last_commit = time.perf_counter()

    @property
    def next_shard(self) -> int:
        """Number of the first shard that is not finished."""
        return len(self.manifest.shards)

    @property
    def kept(self) -> int:
        """Samples that stay if the run ends now: all, or those of finished shards."""
        return self.written if self.format.keeps_unfinished else self.manifest.samples

    def begin(self, number: int) -> None:
        """Start shard ``number``; shards before it that nothing falls into are finished, empty."""
        while self.next_shard < number:
            self.begin(self.next_shard)
            self.commit()
        assert number == self.next_shard
        self.format.begin(number)
        self._before = (self.written, self.rejected)
        self._begun = True

    def write(self, sample: Sample, encoded: Any) -> None:
        """Add a sample; ``encoded`` is what ``format.encode`` made of its pixels."""
        label = {"image": self.format.image_name(sample.index), **sample.label()}
        self.format.write(sample, label, encoded)
        if self.format.keeps_unfinished:
            self._labels.append(label)
        else:
            self._waiting.append(label)
        self.written += 1
        width, height = sample.shape
        self.pixels += width * height
        self._overview.add(sample)

    def reject(self, line: int, text: str, reason: str) -> None:
        """Record an input that could not be used: its line number from 1, itself, and why."""
        self._rejections.append({"line": line, "text": text, "reason": reason})
        self.rejected += 1

    def commit(self) -> None:
        """Finish the shard."""
        for label in self._waiting:
            self._labels.append(label)
        digests = self.format.commit()
        self._overview.commit()
        number = self.next_shard
        self.manifest.shards.append(
            Shard(
                number,
                self.written - self._before[0],
                self.rejected - self._before[1],
                self._labels.length,
                self._rejections.length,
                {name: self._described(name, digest) for name, digest in digests.items()},
            )
        )
        self.manifest.save(self.folder)
        now = time.perf_counter()
        pixels = self.pixels - self._pixels_before
        self._timing.append({"shard": number, "seconds": round(now - self._last_commit, 3), "pixels": pixels})
        self._last_commit, self._pixels_before = now, self.pixels
        self._waiting = []
        self._begun = False

    def finish(self) -> None:
        """Put together what needs all shards, and write the report. Does nothing for a run that is finished already."""
        with_samples = [shard.number for shard in self.manifest.shards if shard.samples]
        if not self.manifest.complete:
            assembled = self.format.assemble(with_samples) if with_samples else []
            names = {path.relative_to(self.folder).as_posix(): path for path in assembled}
            self.manifest.files = {name: self._described(name, digest_of(path)) for name, path in names.items()}
            self.manifest.complete = True
            self.manifest.save(self.folder)
        for path in self.format.superfluous(with_samples):
            path.unlink(missing_ok=True)
        self._overview.write()
        if not (self.folder / REPORT).is_file():
            write_report(self.folder, self.manifest)
        self._overview.forget()

    def close(self) -> None:
        """Let go of the folder; a shard that is not finished is dropped, or kept as far as it is valid."""
        try:
            if self._begun:
                self._begun = False
                self.format.abandon()
                if not self.format.keeps_unfinished:
                    self.written = self.manifest.samples
                    self._overview.drop()
            self._overview.write()
        finally:
            self._labels.close()
            self._rejections.close()
            self._timing.close()
            self._overview.close()
            os.close(self._lock)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except OSError:
            # The disk refuses the contact sheet as well; the error under way says more.
            if not isinstance(error, OSError):
                raise

    def _described(self, name: str, digest: str) -> dict[str, Any]:
        path = self.folder / name
        return {"sha256": digest, "bytes": path.stat().st_size} if path.is_file() else {"sha256": digest}

    def _check_files(self) -> None:
        """``ValueError`` if a file of a finished shard is gone or has another size."""
        manifest = self.manifest
        listed = [manifest.files] if manifest.files else [shard.files for shard in manifest.shards]
        for name, described in ((n, d) for of_shard in listed for n, d in of_shard.items()):
            path = self.folder / name
            if "bytes" in described and (not path.is_file() or path.stat().st_size != described["bytes"]):
                raise ValueError(f"{path} is missing or is not what was finished; start again with --overwrite")
        if (there := self.format.count()) is not None and there < manifest.samples:
            raise ValueError(
                f"{self.folder} has {there} images, fewer than the {manifest.samples} that were finished: some were "
                "taken away; start again with --overwrite"
            )

    def _earlier(self, overwrite: bool) -> Manifest | None:
        """The run to go on with, if there is one; a run that is not to be gone on with is removed or refused."""
        manifest = Manifest.load(self.folder)
        # before there were manifests there were folders of images with labels
        there = FORMATS[manifest.settings.format if manifest else "folder"]
        owner = there(self.folder, manifest.settings.split if manifest else "")
        own = owner.own_files()
        labels, sheet, place = (self.folder / name for name in (LABELS, CONTACT_SHEET, MANIFEST))
        report = self.folder / REPORT
        others = [sheet, report, *(self.folder / name for name in (CARDS, REJECTED, TIMING))]
        others = [path for path in others if path.exists()]
        if manifest is None and not labels.is_file() and (own or others):
            raise FileExistsError(
                f"{self.folder} holds {(own + others)[0].name}, but no {MANIFEST}: it is no folder of hmeg's; "
                "choose another"
            )
        if not overwrite:
            same = manifest is not None and manifest.settings == self.settings
            if same and self.settings.source != STANDARD_INPUT:
                for path in (*(p for p in own if p.name.endswith(PART)), *map(partial, (sheet, report, place))):
                    path.unlink(missing_ok=True)
                return manifest
            count = manifest.samples if manifest else 0
            if count or own or (labels.is_file() and labels.stat().st_size):
                raise FileExistsError(
                    f"{self.folder} holds {self._other_run(manifest, len(own))}; choose another folder, "
                    "or replace that run with --overwrite"
                )
        # the manifest goes last: as long as anything is left, it says whose it is
        for path in (*own, *others, *map(partial, (sheet, report, place)), labels, place):
            path.unlink(missing_ok=True)
        remove_empty(owner.folders())
        return None

    def _other_run(self, manifest: Manifest | None, files: int) -> str:
        if manifest is None:
            return f"an earlier run of {files} images"
        what = f"an earlier run of {manifest.samples} images" if manifest.samples else "an earlier run"
        if manifest.settings == self.settings:
            return f"{what} from standard input, which cannot be read again"
        return f"{what} with other settings ({manifest.settings.differences(self.settings)})"


def _whole_lines(path: Path) -> int:
    """How many bytes of a file are whole lines; a process that was killed may have left half a one."""
    return path.read_bytes().rfind(b"\n") + 1 if path.is_file() else 0


def _locked(folder: Path) -> int:
    """A descriptor of the folder that keeps others from writing there; the system frees it when the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise BlockingIOError(f"{folder} is being written to by another hmeg generate") from error
    return descriptor
