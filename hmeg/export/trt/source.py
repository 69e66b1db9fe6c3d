"""What an engine is built from: an ONNX file of `hmeg export onnx`, with what it says of itself."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import Unavailable
from ..metadata import ExportMetadata
from ..seal import is_sealed


def decoder_metadata(path: str | os.PathLike[str]) -> ExportMetadata:
    """Of a decoder's ONNX file.

    ``ValueError``, naming it, for a file that is truncated, corrupt, foreign, changed since it was exported, or holds
    another part; ``Unavailable`` without the package onnx.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise Unavailable(f"ONNX files cannot be read ({error}): pip install 'hmeg[onnx]'") from None
    name, content = os.fspath(path), Path(path).read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ValueError(f"{name}: not a readable ONNX file, truncated or corrupt ({error})") from None
    metadata = ExportMetadata.from_text({entry.key: entry.value for entry in model.metadata_props}, name)
    if not is_sealed(content):
        raise ValueError(f"{name}: damaged, or changed since `hmeg export onnx` wrote it; export it again")
    if metadata.part != "decoder":
        raise ValueError(
            f"{name}: holds the {metadata.part} model, and engines are built of decoders; make one by "
            "`hmeg export onnx --part decoder`"
        )
    return metadata
