"""Which symbols are read: by length of the expression and by height, whatever the shape of images."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hmeg.cli.evaluate.legibility import command
from hmeg.evaluation.reading import LENGTHS, by_range, read, summary
from hmeg.graph.latex import parse_latex
from hmeg.graph.typeset import typeset
from hmeg.image_sets import open_images


def strokes(width, height, boxes):
    """Crosses and bars at boxes (x0, y0, x1, y1), 3 pixels wide."""
    image = np.full((height, width), 255, np.uint8)
    for label, (x0, y0, x1, y1) in boxes:
        middle_x, middle_y = (x0 + x1) // 2, (y0 + y1) // 2
        image[middle_y - 1 : middle_y + 2, x0:x1] = 0
        if label == "+":
            image[y0:y1, middle_x - 1 : middle_x + 2] = 0
    return image


@pytest.fixture
def folder(tmp_path):
    """A long image of a minus and two pluses, and a high one of a plus."""
    long = [("-", (4, 20, 28, 24)), ("+", (40, 10, 64, 34)), ("+", (300, 10, 324, 34))]
    high = [("+", (8, 100, 28, 120))]
    lines = []
    for name, (width, height), boxes in (("000000", (400, 48), long), ("000001", (48, 200), high)):
        Image.fromarray(strokes(width, height, boxes)).save(tmp_path / f"{name}.png")
        latex = " ".join(label for label, _ in boxes)
        graph = parse_latex(latex)
        lines.append(
            {
                "image": f"{name}.png", "latex": latex, "tokens": latex.split(), "symbols": list(graph.symbols),
                "boxes": [box for _, box in boxes],
                "relations": [[r.subject, r.object, r.name] for r in graph.relations],
            }
        )  # fmt: skip
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_symbols_are_read_at_their_boxes(folder):
    reading = read(open_images(folder))
    assert reading.right.tolist() == [True, True, True, True]
    assert reading.lengths.tolist() == [3, 3, 3, 1]
    np.testing.assert_allclose(reading.heights, [4, 24, 24, 20], atol=0.01)
    np.testing.assert_allclose(reading.smallest, [24, 20], atol=0.01)
    assert len(reading.x_heights) == 2
    assert len(read(open_images(folder), limit=1).x_heights) == 1


def test_wrong_labels_are_not_read(folder):
    path = folder / "labels.jsonl"
    path.write_text(path.read_text().replace('"+"', '"x"'))
    assert not read(open_images(folder)).right[1:].any()


def test_images_without_boxes(tmp_path):
    Image.new("L", (32, 32), 255).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="no image has boxes of its symbols"):
        read(open_images(tmp_path))


def test_ranges():
    right, values = np.array([True, False, True, True]), np.array([1, 9, 10, 100])
    found = by_range(right, values, LENGTHS)
    assert list(found) == ["1 to 9", "10 to 19", "20 to 39", "40 to 60", "61 and more"]
    assert found["1 to 9"] == {"symbols": 2, "read": 0.5}
    assert found["20 to 39"] == {"symbols": 0, "read": None}
    assert found["61 and more"] == {"symbols": 1, "read": 1.0}


def test_the_x_height_is_that_of_the_layout(tmp_path):
    graph = parse_latex("x=y")
    boxes = typeset(graph) * 256
    Image.new("L", (256, 256), 255).save(tmp_path / "000000.png")
    label = {"image": "000000.png", "latex": "x=y", "tokens": ["x", "=", "y"], "symbols": list(graph.symbols),
             "boxes": boxes.tolist(),
             "relations": [[r.subject, r.object, r.name] for r in graph.relations]}  # fmt: skip
    (tmp_path / "labels.jsonl").write_text(json.dumps(label) + "\n")
    (height,) = read(open_images(tmp_path)).x_heights
    assert height == pytest.approx(boxes[0, 3] - boxes[0, 1] - 2.5, rel=0.01)


def test_the_command_reports(folder, tmp_path):
    out = tmp_path / "evaluation"
    result = CliRunner().invoke(command, [str(folder), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "100.0% of 4 symbols read (1 to 9 symbols 100.0%)" in result.output
    results = json.loads((out / "metrics.json").read_text())["sections"]["legibility"]["results"]
    assert results["sets"][folder.name] == json.loads(json.dumps(summary(read(open_images(folder)))))
    assert "Legibility" in (out / "report.html").read_text()
