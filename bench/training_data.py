"""A prepared data set made from a seed, so that a benchmark of training needs no handwriting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from hmeg.graph import vocabulary

from .workloads import crohme

SIZE = 256


def write_dataset(folder: Path, expressions: int) -> Path:
    """Rows of symbols of CROHME's sizes, each to the right of the one before, drawn as crosses in their boxes."""
    work, random = crohme(expressions), np.random.RandomState(1)
    (folder / "images").mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps({"size": SIZE}))
    with open(folder / "graphs.jsonl", "w") as file:
        for row in range(expressions):
            boxes = work.boxes[work.batch == row].numpy()
            labels = [vocabulary.SYMBOL_LABELS[i] for i in random.randint(0, len(vocabulary.SYMBOL_LABELS), len(boxes))]
            relations = [[i, i + 1, "Right"] for i in range(len(boxes) - 1)]
            record = {"name": f"e{row}", "latex": "", "symbols": labels, "relations": relations}
            file.write(json.dumps({**record, "boxes": boxes.tolist()}) + "\n")
            image = Image.new("L", (SIZE, SIZE), 255)
            draw = ImageDraw.Draw(image)
            for x0, y0, x1, y1 in boxes * SIZE:
                draw.line((x0, y0, x1, y1), fill=0, width=2)
                draw.line((x0, y1, x1, y0), fill=0, width=2)
            image.save(folder / "images" / f"e{row}.png")
    return folder
