"""A digest at the end of an ONNX file, by which damage shows that no parser would notice.

Protocol buffers may be appended to one another: the last bytes of a sealed file are one more metadata entry of the
model, with the SHA-256 of all bytes before it. Other readers of ONNX see an ordinary entry.
"""

from __future__ import annotations

import hashlib
import hmac

_KEY = b"hmeg_digest"
_HEX_DIGITS = 64
_METADATA_PROPS, _ENTRY_KEY, _ENTRY_VALUE = 0x72, 0x0A, 0x12  # tags: fields 14 of ModelProto, 1 and 2 of the entry


def sealed(content: bytes) -> bytes:
    """A serialised ModelProto with its digest appended."""
    return content + _entry(content)


def is_sealed(content: bytes) -> bool:
    """Whether these are the bytes that :func:`sealed` gave."""
    length = len(_entry(b""))
    return len(content) > length and hmac.compare_digest(content[-length:], _entry(memoryview(content)[:-length]))


def _entry(content: bytes | memoryview) -> bytes:
    key = bytes([_ENTRY_KEY, len(_KEY)]) + _KEY
    value = bytes([_ENTRY_VALUE, _HEX_DIGITS]) + hashlib.sha256(content).hexdigest().encode()
    return bytes([_METADATA_PROPS, len(key + value)]) + key + value
