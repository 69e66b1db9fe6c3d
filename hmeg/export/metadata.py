"""What an exported file says of itself, as text to text: ONNX metadata, a JSON sidecar, an AOTInductor package's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import hmeg
from hmeg.graph.vocabulary import IMAGE_LABEL, NUM_EDGE_TYPES, SYMBOL_LABELS, relation_name
from hmeg.model.config import ModelConfig

FORMAT = "hmeg-export-1"
PARTS = ("decoder", "full")
PRECISIONS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class ExportMetadata:
    """Which network of which weights a file holds.

    weights_id    of the weights it was made from (:func:`hmeg.model.checkpoint.weights_id`)
    config        their configuration
    part          "decoder" (layout and noise -> images) or "full" (graphs and noise -> boxes, masks, images)
    precision     "fp32", "fp16" or "bf16": the type of upsampler and decoder, and of the tensors they read and give
    licence       of the weights, which travel in the file; "" where the weights do not say
    max_symbols   most symbols an expression may have; None for the decoder, which sees no symbols
    hmeg_version  that wrote it
    """

    weights_id: str
    config: ModelConfig
    part: str
    precision: str
    licence: str = ""
    max_symbols: int | None = None
    hmeg_version: str = hmeg.__version__

    def __post_init__(self) -> None:
        for what, value, allowed in (("part", self.part, PARTS), ("precision", self.precision, PRECISIONS)):
            if value not in allowed:
                raise ValueError(f"{what} must be one of {', '.join(allowed)}, got {value!r}")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Sides of the images, ascending."""
        return self.config.resolutions

    def to_text(self) -> dict[str, str]:
        """For a file; :meth:`from_text` reads it.

        Files that read graphs also say what class and edge type each number is: who runs one may not have hmeg.
        """
        text = {
            "format": FORMAT,
            "hmeg_version": self.hmeg_version,
            "weights_id": self.weights_id,
            "config": self.config.to_json(),
            "sizes": json.dumps(self.sizes),
            "part": self.part,
            "precision": self.precision,
            "licence": self.licence,
        }
        if self.max_symbols is not None:
            text["max_symbols"] = str(self.max_symbols)
        if self.part == "full":
            text["symbol_labels"] = json.dumps([IMAGE_LABEL, *SYMBOL_LABELS])
            text["edge_types"] = json.dumps([relation_name(number) for number in range(NUM_EDGE_TYPES)])
        return text

    @classmethod
    def from_text(cls, text: Mapping[str, str], name: str) -> ExportMetadata:
        """Inverse of :meth:`to_text`; other keys are ignored. ``ValueError``, beginning with the file's ``name``, for
        what :meth:`to_text` did not write."""
        if text.get("format") != FORMAT:
            raise ValueError(f"{name}: not a file of `hmeg export` (of the format {FORMAT})")
        try:
            most = text.get("max_symbols")
            return cls(
                weights_id=text["weights_id"],
                config=ModelConfig.from_json(text["config"]),
                part=text["part"],
                precision=text["precision"],
                licence=text["licence"],
                max_symbols=None if most is None else int(most),
                hmeg_version=text["hmeg_version"],
            )
        except KeyError as error:
            raise ValueError(f"{name}: its metadata has no {error}; was it changed?") from None
        except ValueError as error:
            raise ValueError(f"{name}: its metadata is damaged: {error}") from None
