"""What evaluations found, collected in one folder: metrics.json for programs, report.html for people.

Every command adds a section under a key of its own, or replaces it; the report is made anew from metrics.json and the
drawings beside it each time, so it always shows everything.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from hmeg.files import check_writable, missing_folders, remove_empty, same_place, write_whole
from hmeg.quoting import quoted
from hmeg.reports import Page

from .versions import versions

METRICS, REPORT, PICTURES = "metrics.json", "report.html", "pictures"
VERSION = "hmeg-metrics-1"

Cell = str | int | float | None


class Section:
    """One command's part of the report.

    key      of the section in metrics.json; a section of the same key is replaced
    title    its heading
    results  what programs read: anything JSON can hold; ``command`` and ``versions`` of libraries are added
    command  what to type to get the same again
    Then pieces, in the order they are shown; pictures are kept as files beside the report. :meth:`save` writes all, and
    ends the section with command and versions.
    """

    def __init__(self, key: str, title: str, results: Mapping[str, Any], command: str) -> None:
        check_key(key)
        self.key, self.title, self.command, self.versions = key, title, command, versions()
        self.results = {"command": command, "versions": self.versions, **results}
        self._blocks: list[dict[str, Any]] = []
        self._files: dict[str, bytes] = {}

    def text(self, paragraph: str) -> None:
        """A paragraph."""
        self._blocks.append({"text": paragraph})

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A table; how cells are written: :meth:`hmeg.reports.Page.table`."""
        self._blocks.append({"table": {"headers": list(headers), "rows": [list(row) for row in rows]}})

    def bars(self, title: str, counts: Mapping[str, int | float]) -> None:
        """A bar a label, as long as its count."""
        self._blocks.append({"bars": {"title": title, "counts": dict(counts)}})

    def picture(self, image: Image.Image, caption: str) -> None:
        """A picture; the caption says what it shows."""
        file = io.BytesIO()
        image.save(file, format="PNG", optimize=True)
        self._blocks.append({"picture": self._file("png", file.getvalue()), "caption": caption})

    def gallery(self, pictures: Sequence[tuple[Image.Image, str]]) -> None:
        """Small pictures side by side, each with a caption."""
        entries = []
        for image, caption in pictures:
            file = io.BytesIO()
            image.save(file, format="PNG", optimize=True)
            entries.append({"picture": self._file("png", file.getvalue()), "caption": caption})
        self._blocks.append({"gallery": entries})

    def figure(self, svg: str, caption: str) -> None:
        """A plot; the caption says what it shows."""
        self._blocks.append({"figure": self._file("svg", svg.encode()), "caption": caption})

    def _file(self, suffix: str, content: bytes) -> str:
        name = f"{self.key}-{len(self._files)}.{suffix}"
        self._files[name] = content
        return name

    def save(self, folder: Path) -> Path:
        """Merges the section into the folder's metrics.json, makes report.html; returns the latter's path.

        ``ValueError`` for a metrics.json that is not ours: nothing is written then. Interrupted, or on a full disk, it
        leaves the folder as it was.
        """
        sections = read_sections(folder)
        before = _pictures_of(sections.get(self.key, {}))
        new = missing_folders(folder / PICTURES / "any")
        places = [folder / METRICS, *(folder / PICTURES / name for name in self._files)]
        there = {place: place.read_bytes() if place.exists() else None for place in places}
        try:
            report = self._write(folder, sections)
        except BaseException:
            for place, content in there.items():
                if content is None:
                    place.unlink(missing_ok=True)
                elif place.read_bytes() != content:
                    write_whole(place, content)
            remove_empty(new)
            raise
        for name in before - self._files.keys():
            (folder / PICTURES / name).unlink(missing_ok=True)
        return report

    def _write(self, folder: Path, sections: dict[str, Any]) -> Path:
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        for name, content in self._files.items():
            write_whole(folder / PICTURES / name, content)
        libraries = ", ".join(f"{library} {version}" for library, version in self.versions.items())
        last = {"text": f"Command: {self.command}. Versions: {libraries}."}
        sections[self.key] = {"title": self.title, "results": self.results, "blocks": [*self._blocks, last]}
        text = json.dumps({"version": VERSION, "sections": sections}, indent=1, allow_nan=False)
        write_whole(folder / METRICS, (text + "\n").encode())
        return render(folder)


def _pictures_of(section: Mapping[str, Any]) -> set[str]:
    """Names of the files that a section shows, without folders."""
    blocks = list(section.get("blocks", ()))
    shown = [*blocks, *(entry for block in blocks for entry in block.get("gallery", ()))]
    return {PurePosixPath(block[kind]).name for block in shown for kind in ("picture", "figure") if kind in block}


def check_key(key: str) -> None:
    """``ValueError`` for what cannot name a section (files are named by it)."""
    if not key.isprintable() or any(character in key for character in "/\\:") or not 1 <= len(key) <= 100:
        raise ValueError(f"a section's name has 1 to 100 characters and no slash or colon, got {key!r}")


def check_folder(folder: Path) -> None:
    """``ValueError`` for a folder that cannot take a section: of somebody else's, or one nothing can be written to.

    To be called before anything is computed; leaves nothing behind.
    """
    if not read_sections(folder) and (folder / REPORT).exists():
        raise ValueError(
            f"{folder / REPORT} is a report of something else, such as a run of hmeg generate; choose another --out"
        )
    check_writable(folder / REPORT)
    check_writable(folder / PICTURES / REPORT)


def check_inputs(folder: Path, key: str, inputs: Mapping[str, Any]) -> None:
    """``ValueError`` if the folder has a section of that key whose results are of other inputs, by name.

    Inputs are paths, several parted by commas, or lists of them; one place may be written in many ways. For keys that
    nobody chose: they are made of names of files, and two files may have one name.
    """
    there = read_sections(folder).get(key, {}).get("results", {})
    others = {name: there[name] for name, value in inputs.items() if not _same(there.get(name, value), value)}
    if others:
        said = "; ".join(f"{name} {there}" for name, there in others.items())
        section = f"a section {quoted(key)} already, of other data ({said})"
        raise ValueError(f"{folder / REPORT} has {section}; give a --name")


def _same(ones: Any, others: Any) -> bool:
    mine, theirs = _places(ones), _places(others)
    return len(mine) == len(theirs) and all(map(same_place, mine, theirs))


def _places(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else [value]
    return [place for part in parts for place in str(part).split(",") if place]


def read_sections(folder: Path) -> dict[str, Any]:
    """The sections of a folder by key, in the order they came; none where there is no metrics.json yet."""
    path = folder / METRICS
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; choose another place") from None
    except ValueError:
        raise ValueError(f"{path} is not JSON; choose another --out or remove it") from None
    if not isinstance(found, dict) or found.get("version") != VERSION or not isinstance(found.get("sections"), dict):
        raise ValueError(f"{path} was not made by this version of hmeg evaluate; choose another --out or remove it")
    sections: dict[str, Any] = found["sections"]
    return sections


def render(folder: Path) -> Path:
    """Makes report.html of a folder's metrics.json and drawings; returns its path."""
    page = Page("hmeg evaluation")
    pictures = folder / PICTURES
    try:
        for section in read_sections(folder).values():
            page.section(section["title"])
            for block in section["blocks"]:
                _show(page, block, pictures)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / METRICS} is damaged ({error!r}); remove it and measure again") from error
    page.save(folder / REPORT)
    return folder / REPORT


def _show(page: Page, block: dict[str, Any], pictures: Path) -> None:
    def content(name: str) -> bytes:
        return (pictures / PurePosixPath(name).name).read_bytes()  # never outside the folder

    if "text" in block:
        page.text(block["text"])
    elif "table" in block:
        page.table(block["table"]["headers"], block["table"]["rows"])
    elif "bars" in block:
        page.bars(block["bars"]["title"], block["bars"]["counts"])
    elif "picture" in block:
        page.picture(content(block["picture"]), block["caption"])
    elif "gallery" in block:
        page.gallery([(content(entry["picture"]), entry["caption"]) for entry in block["gallery"]])
    else:
        page.figure(content(block["figure"]).decode(), block["caption"])
