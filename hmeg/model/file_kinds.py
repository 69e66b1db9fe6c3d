"""What a file is that should be a checkpoint and is none, by its first bytes."""

from __future__ import annotations

from collections.abc import Sequence

_KINDS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
)
_ZIP = b"PK\x03\x04"
_OLD_FORM = (b"\x80\x02", b"\x80\x03")  # a pickle of protocol 2, or 3
_LATER_PICKLES = (b"\x80\x04", b"\x80\x05")


def foreign_kind(head: bytes) -> str | None:
    """A file in words, if torch.save cannot have written it; None if it may have. ``head``: its first 512 bytes."""
    if head.startswith((_ZIP, *_OLD_FORM)):
        return None
    if not head:
        return "an empty file"
    for magic, kind in _KINDS:
        if head.startswith(magic):
            return kind
    if head.startswith(_LATER_PICKLES):
        return f"a pickle of protocol {head[1]}; torch.save's default is 2"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000:
        return "a safetensors file"
    if head[257:262] == b"ustar":
        return "a tar archive"
    return "text" if _is_text(head) else "of a kind that is not known here"


def kind_of_zip(names: Sequence[str]) -> str | None:
    """A zip archive in words, by the names in it, if it is not of tensors; None for those of torch.save."""
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return "TorchScript, a program"
    return None if "data.pkl" in inner else "a zip archive that torch.save did not write"


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", errors="ignore")  # a character may be cut at the end
    return len(text.encode()) > len(head) - 4 and all(letter.isprintable() or letter in "\t\r\n" for letter in text)
