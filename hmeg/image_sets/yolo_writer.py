"""What YOLO detectors train on: an image and a text file of boxes for every sample, and ``data.yaml``.

https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hmeg import files
from hmeg.files import PART
from hmeg.graph import SymbolGraph

from .detection import Box, boxes_of, check_symbols, classes_of
from .folder_reader import LABELS
from .folder_writer import FolderFormat
from .image_files import size_of
from .sample import Sample

SETTINGS = "data.yaml"


class YoloFormat(FolderFormat):
    """``images/<split>/000000.png`` and ``labels/<split>/000000.txt``, ...; when the run is finished, ``data.yaml``.

    A line of a text is ``class x y width height``: the symbol's number in the vocabulary, from 0 on, and centre and
    size of its box as shares of the image.
    """

    @property
    def place(self) -> str:
        return f"images/{self.split}/"

    @staticmethod
    def check(graph: SymbolGraph) -> None:
        check_symbols(graph)

    def folders(self) -> list[Path]:
        return [
            *(self.folder / kind / self.split for kind in ("images", "labels")),
            *(self.folder / kind for kind in ("images", "labels")),
        ]

    def write(self, sample: Sample, label: dict[str, Any], encoded: bytes) -> None:
        size = size_of(encoded, label["image"])
        boxes = "".join(_line(box, size) for box in boxes_of(label))
        files.write_whole(self.folder / self._text(self.image_name(sample.index)), boxes.encode("ascii"))
        super().write(sample, label, encoded)  # last: an image always has its boxes

    def assemble(self, shards: list[int]) -> list[Path]:
        content = (
            f"# Written by hmeg, which knows one split: for val, name a folder of images that are not trained on.\n"
            f"train: {self.place[:-1]}\nval: {self.place[:-1]}\n"
        ) + yaml.safe_dump({"names": dict(enumerate(classes_of(self.folder / LABELS)))}, sort_keys=False)
        files.write_whole(self.folder / SETTINGS, content.encode("ascii"))
        return [self.folder / SETTINGS]

    def is_own(self, name: str) -> bool:
        if name.startswith(f"labels/{self.split}/"):
            whole = name.removesuffix(PART)
            return whole.endswith(".txt") and self._is_image(self.place + Path(whole).stem + ".png")
        return self._is_image(name) or name.removesuffix(PART) == SETTINGS

    def _text(self, image: str) -> str:
        return f"labels/{self.split}/{Path(image).stem}.txt"


def _line(box: Box, size: tuple[int, int]) -> str:
    symbol, x0, y0, x1, y1 = box
    width, height = size
    shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return " ".join([str(symbol - 1), *(f"{share:.6f}" for share in shares)]) + "\n"
