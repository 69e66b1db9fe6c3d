"""What detectors train on in COCO's form: images, and one JSON file with a box for every symbol.

https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from hmeg import files
from hmeg.files import PART
from hmeg.graph import SymbolGraph

from .detection import boxes_of, check_symbols, classes_of, labels_of
from .folder_reader import LABELS
from .folder_writer import FolderFormat
from .image_files import size_of


class CocoFormat(FolderFormat):
    """``<split>/000000.png``, ... and, when the run is finished, ``annotations/instances_<split>.json``.

    A category is a symbol, with its number in the vocabulary, from 1 on, as id. Boxes are x, y, width, height in
    pixels.
    """

    @property
    def place(self) -> str:
        return f"{self.split}/"

    @staticmethod
    def check(graph: SymbolGraph) -> None:
        check_symbols(graph)

    @property
    def annotations(self) -> Path:
        """The file of boxes."""
        return self.folder / "annotations" / f"instances_{self.split}.json"

    def folders(self) -> list[Path]:
        return [self.folder / self.split, self.annotations.parent]

    def assemble(self, shards: list[int]) -> list[Path]:
        files.write_atomically(self.annotations, self._write_annotations)
        return [self.annotations]

    def is_own(self, name: str) -> bool:
        return self._is_image(name) or name.removesuffix(PART) == f"annotations/{self.annotations.name}"

    def _write_annotations(self, path: Path) -> None:
        names = classes_of(self.folder / LABELS)
        categories = [{"id": i, "name": name, "supercategory": "symbol"} for i, name in enumerate(names, 1)]
        info = {"description": "handwritten mathematics, drawn by hmeg"}
        with path.open("w", encoding="ascii") as file:
            file.write(f'{{"info": {json.dumps(info)},\n"licenses": [],\n"categories": {json.dumps(categories)},\n')
            _write_list(file, "images", self._images())
            file.write(",\n")
            _write_list(file, "annotations", self._boxes())
            file.write("}\n")

    def _images(self) -> Iterator[dict[str, Any]]:
        for label in self._labels():
            name = label["image"]
            width, height = size_of((self.folder / name).read_bytes(), str(self.folder / name))
            yield {
                "id": label["index"],
                "file_name": name.removeprefix(self.place),
                "width": width,
                "height": height,
                "latex": label["latex"],
            }

    def _boxes(self) -> Iterator[dict[str, Any]]:
        number = 0
        for label in self._labels():
            for symbol, x0, y0, x1, y1 in boxes_of(label):
                width, height = round(x1 - x0, 2), round(y1 - y0, 2)
                number += 1  # from 1 on: COCO's evaluation takes 0 for no box
                yield {
                    "id": number,
                    "image_id": label["index"],
                    "category_id": symbol,
                    "bbox": [x0, y0, width, height],
                    "area": round(width * height, 4),
                    "iscrowd": 0,
                    "segmentation": [],
                }

    def _labels(self) -> Iterator[dict[str, Any]]:
        return labels_of(self.folder / LABELS)


def _write_list(file: TextIO, key: str, values: Iterator[dict[str, Any]]) -> None:
    """One value a line, as they come: all of a run would not fit into memory."""
    file.write(f'"{key}": [')
    for number, value in enumerate(values):
        file.write((",\n" if number else "\n") + json.dumps(value))
    file.write("\n]")
