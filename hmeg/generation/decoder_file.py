"""An exported decoder in place of torch's: which file, which kind, and whether it goes with the weights."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from hmeg.export.runtime import Runtime

TORCH = "torch"
KINDS = {".onnx": "onnx", ".pt2": "aoti", ".engine": "tensorrt"}  # suffix -> what `hmeg generate --runtime` calls it
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class DecoderFile:
    """A decoder read from a file.

    path     of the file
    runtime  that runs it
    label    its kind and the beginning of its sha256: two files, even of the same weights, may differ in rounding
    """

    path: str
    runtime: Runtime
    label: str

    @property
    def precision(self) -> str:
        """Of the decoder, in the words of :class:`hmeg.generation.generator.Generator`."""
        return PRECISIONS[self.runtime.metadata.precision]

    def check(self, weights_id: str, weights: str, precision: str) -> None:
        """``ValueError`` unless the decoder is of these weights (their id, and what they are called) and precision."""
        metadata = self.runtime.metadata
        if metadata.part != "decoder":
            raise ValueError(f"{self.path}: holds the part {metadata.part!r}; drawing needs one of --part decoder")
        if metadata.weights_id != weights_id:
            raise ValueError(
                f"{self.path}: made from weights {metadata.weights_id}, and {weights} are {weights_id}; give the "
                "weights it was made from, for layouts must come from the same"
            )
        if precision not in ("float32", self.precision):
            raise ValueError(f"{self.path}: computes in {self.precision}, not in {precision}; that is built in")


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """What computes a file, by its suffix, or None for one that is no exported decoder's."""
    return KINDS.get(Path(path).suffix)


def load_decoder(path: str | os.PathLike[str], device: torch.device) -> DecoderFile:
    """The decoder in a file, on ``device``; errors as :func:`hmeg.export.runtime.load_runtime` has them."""
    from hmeg.export.runtime import load_runtime

    runtime = load_runtime(path, device)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return DecoderFile(os.fspath(path), runtime, f"{KINDS[Path(path).suffix]} {digest.hexdigest()[:12]}")
