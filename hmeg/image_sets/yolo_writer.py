"""What YOLO detectors train on: an image and a text file of boxes for every sample, and ``data.yaml``.

https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hmeg import files
from hmeg.files import PART
from hmeg.graph.vocabulary import SYMBOL_LABELS

from .folder_writer import FolderFormat
from .image_files import size_of
from .sample import Sample

SETTINGS = "data.yaml"
_CLASSES = {label: number for number, label in enumerate(SYMBOL_LABELS)}


class YoloFormat(FolderFormat):
    """``images/<split>/000000.png`` and ``labels/<split>/000000.txt``, ...; when the run is finished, ``data.yaml``.

    A line of a text is ``class x y width height``: the symbol's number in the vocabulary, from 0 on, and centre and
    size of its box as shares of the image. A box without area, of a symbol of which the image shows nothing, is left
    out.
    """

    @property
    def place(self) -> str:
        return f"images/{self.split}/"

    def folders(self) -> list[Path]:
        return [
            *(self.folder / kind / self.split for kind in ("images", "labels")),
            *(self.folder / kind for kind in ("images", "labels")),
        ]

    def write(self, sample: Sample, label: dict[str, Any], encoded: bytes) -> None:
        size = size_of(encoded, label["image"])
        boxes = "".join(_lines(label["symbols"], label["boxes"], size))
        files.write_whole(self.folder / self._text(self.image_name(sample.index)), boxes.encode("ascii"))
        super().write(sample, label, encoded)  # last: an image always has its boxes

    def assemble(self, shards: list[int]) -> list[Path]:
        content = (
            f"# Written by hmeg, which knows one split: for val, name a folder of images that are not trained on.\n"
            f"train: {self.place[:-1]}\nval: {self.place[:-1]}\n"
        ) + yaml.safe_dump({"names": dict(enumerate(SYMBOL_LABELS))}, sort_keys=False)
        files.write_whole(self.folder / SETTINGS, content.encode("ascii"))
        return [self.folder / SETTINGS]

    def is_own(self, name: str) -> bool:
        if name.startswith(f"labels/{self.split}/"):
            whole = name.removesuffix(PART)
            return whole.endswith(".txt") and self._is_image(self.place + Path(whole).stem + ".png")
        return self._is_image(name) or name.removesuffix(PART) == SETTINGS

    def _text(self, image: str) -> str:
        return f"labels/{self.split}/{Path(image).stem}.txt"


def _lines(symbols: list[str], boxes: list[list[float]], size: tuple[int, int]) -> list[str]:
    width, height = size
    lines = []
    for symbol, (x0, y0, x1, y1) in zip(symbols, boxes, strict=True):
        if x1 <= x0 or y1 <= y0:
            continue
        shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        lines.append(" ".join([str(_CLASSES[symbol]), *(f"{share:.6f}" for share in shares)]) + "\n")
    return lines
