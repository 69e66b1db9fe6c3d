"""What an AOTInductor package is: an entry of our own in it, and the digests of all others.

A ``.pt2`` is a zip archive with a compiled library in it, and loading one runs that library. So everything about a file
is checked before torch unpacks it: that it is an archive of ours, undamaged, with names that stay inside the folder it
is unpacked to, made for this torch, this processor and this GPU. That catches damage and mistakes, not malice: whoever
can write a package can write digests that fit. Load packages of people you trust only.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..metadata import ExportMetadata
from .processor import Processor

FORMAT = "hmeg-aoti-1"
SUFFIX = ".pt2"
_ENTRY = "extra/hmeg.json"  # below the archive's one folder, where torch looks for files that are not its own
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Package:
    """What a package is.

    metadata       which network of which weights
    device         "cpu" or "cuda"
    largest_batch  most images its code computes at a time
    torch          version that compiled it, without what follows a "+"
    processor      that it was compiled on
    gpu            compute capability of the GPU it was compiled on ("9.0"); "" on the CPU
    """

    metadata: ExportMetadata
    device: str
    largest_batch: int
    torch: str
    processor: Processor
    gpu: str


def seal(path: Path, package: Package) -> None:
    """Adds the entry that says what the archive is, with a digest of every entry that is in it now."""
    with zipfile.ZipFile(path, "a") as archive:
        digests = {info.filename: _digest(archive, info) for info in archive.infolist()}
        values = {"format": FORMAT, **asdict(package), "metadata": package.metadata.to_text(), "sha256": digests}
        archive.writestr(f"{_folder(archive)}/{_ENTRY}", json.dumps(values, indent=1))


def read_package(path: str | os.PathLike[str]) -> Package:
    """What a file is, after every entry was compared with its digest; none of its code has run then.

    ``FileNotFoundError`` where there is none; ``ValueError``, naming it, for one that is truncated, damaged, of another
    kind, or has names that lead out of the folder it would be unpacked to.
    """
    name = os.fspath(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{name}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            return _checked(archive, name)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        # EINVAL: the archive's directory points before the file's beginning. Others are the disk's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError(f"{name}: not a readable package, truncated or corrupt ({error})") from None


def _checked(archive: zipfile.ZipFile, name: str) -> Package:
    entries = archive.infolist()
    for info in entries:
        # ZipInfo ends a name at a NUL byte, other readers may not.
        if not _stays_inside(info.filename) or not _stays_inside(info.orig_filename):
            raise ValueError(f"{name}: holds the name {info.orig_filename!r}, which leads out of it; not loaded")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ValueError(f"{name}: {info.filename} is compressed or encrypted, and `hmeg export aoti` does neither")
    names = [info.filename for info in entries]
    own = f"{_folder(archive)}/{_ENTRY}"
    if names.count(own) != 1:
        raise ValueError(f"{name}: not a package of `hmeg export aoti`; its code was not loaded")
    try:
        values = json.loads(archive.read(own))
        if values["format"] != FORMAT:
            raise ValueError(f"its format is {values['format']!r}, not {FORMAT!r}")
        digests: Mapping[str, str] = dict(values["sha256"])
        metadata = dict(values["metadata"])
        device, torch_version, gpu = (str(values[key]) for key in ("device", "torch", "gpu"))
        largest_batch = int(values["largest_batch"])
        if largest_batch < 1:
            raise ValueError(f"its largest batch is {largest_batch}")
        processor = Processor(str(values["processor"]["machine"]), tuple(map(str, values["processor"]["features"])))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{name}: says of itself what this version of hmeg cannot read ({error})") from None
    if sorted(names) != sorted([*digests, own]):
        raise ValueError(f"{name}: its entries are not those that were packed; its code was not loaded")
    for info in entries:
        if info.filename != own and _digest(archive, info) != digests[info.filename]:
            raise ValueError(f"{name}: corrupt: {info.filename} is not what was packed; its code was not loaded")
    return Package(ExportMetadata.from_text(metadata, name), device, largest_batch, torch_version, processor, gpu)


def _folder(archive: zipfile.ZipFile) -> str:
    """The one folder that everything in the archive lies in: torch names it after the file it wrote first."""
    names = archive.namelist()
    return names[0].split("/", 1)[0] if names else ""


def _stays_inside(name: str) -> bool:
    parts = name.split("/")
    return not any(bad in name for bad in ("\\", "\0", ":")) and all(part not in ("", ".", "..") for part in parts)


def _digest(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    digest = hashlib.sha256()
    with archive.open(info) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
