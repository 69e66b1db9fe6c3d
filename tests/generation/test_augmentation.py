"""Variation of images: boxes go along, nothing is lost, and a sample depends on its seed and index alone."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hmeg.cli.generate import command
from hmeg.generation.augmentation.plan import OPERATIONS, PRESETS, chosen, operations
from hmeg.generation.augmentation.vary import check, vary
from hmeg.generation.manifest import Manifest
from tests.support.tiny_model import save_tiny

PAPER = 246
BOXES = np.array([[4.0, 100.0, 250.0, 106.0], [30.0, 20.0, 60.0, 70.0], [200.0, 150.0, 252.0, 252.0]])


def written(boxes, size=256, colour=False):
    """Crosses over the whole of every box on light paper."""
    image = np.full((size, size), PAPER, np.uint8)
    for x0, y0, x1, y1 in np.round(boxes).astype(int):
        steps = np.linspace(0, 1, 4 * size)
        for rows in (steps, 1 - steps):
            y, x = y0 + rows * (y1 - y0 - 3), x0 + steps * (x1 - x0 - 3)
            for d in range(3):
                image[y.astype(int) + d, x.astype(int) + d] = 20
                image[y.astype(int) + d, x.astype(int) + 2 - d] = 20
    return np.repeat(image[..., None], 3, 2) if colour else image


def described(*values):
    return json.dumps([{name: options} for name, options in values])


@pytest.mark.parametrize("preset", list(PRESETS))
def test_ink_stays_in_its_box(preset):
    """What a symbol makes darker than the same paper without it lies in that symbol's box, and is not lost."""
    blank = np.full((256, 256), PAPER, np.uint8)
    for index in range(6):
        empty = vary(preset, blank, BOXES, 7, index)
        for number, box in enumerate(BOXES):
            varied = vary(preset, written([box]), BOXES, 7, index)
            assert varied.parameters == empty.parameters
            darker = empty.array.astype(int) - varied.array
            rows, columns = np.nonzero(darker > max(25, 0.4 * darker.max()))
            x0, y0, x1, y1 = varied.boxes[number]
            assert columns.min() >= x0 - 1.01, (index, number)
            assert rows.min() >= y0 - 1.01, (index, number)
            assert columns.max() + 1 <= x1 + 1.01, (index, number)
            assert rows.max() + 1 <= y1 + 1.01, (index, number)
            # a cross reaches the box's corners: the hull is no wider than slant and turning make it
            assert columns.max() - columns.min() > 0.7 * (x1 - x0) - 4
            assert rows.max() - rows.min() > 0.5 * (y1 - y0) - 4
        assert varied.boxes.min() >= 0
        assert varied.boxes.max() <= 256


def test_known_mapping():
    """Half as large about the middle of the image, and moved: pixel borders go where arithmetic says."""
    image = np.full((64, 64), 255, np.uint8)
    image[8:16, 16:32] = 0
    setting = described(
        ("RandomAffine", {"degrees": 0.0, "scale": [0.5, 0.5], "p": 1.0}),
        ("RandomTranslate", {"translate_x": [0.125, 0.125], "p": 1.0}),
    )
    varied = vary(setting, image, np.array([[16.0, 8, 32, 16]]), 0, 0)
    assert varied.boxes.tolist() == [[32, 20, 40, 24]]
    wanted = np.full((64, 64), 255, np.uint8)
    wanted[20:24, 32:40] = 0
    np.testing.assert_array_equal(varied.array, wanted)
    first, second = varied.parameters
    assert first["RandomAffine"]["scale"] == [0.5, 0.5]
    assert list(second) == ["RandomTranslate"]


@pytest.mark.parametrize(
    "mapping",
    [
        ("RandomAffine", {"degrees": 0.0, "scale": [3.0, 3.0], "p": 1.0}),
        ("RandomTranslate", {"translate_x": [0.6, 0.6], "translate_y": [-0.7, -0.7], "p": 1.0}),
        ("RandomRotation", {"degrees": [80.0, 80.0], "p": 1.0}),
        ("RandomPerspective", {"distortion_scale": 0.9, "p": 1.0}),
    ],
)
def test_nothing_leaves_the_image(mapping):
    image = written(BOXES)
    for index in range(4):
        varied = vary(described(mapping), image, BOXES, 3, index)
        assert varied.boxes.min() >= 0
        assert varied.boxes.max() <= 256
        assert varied.array[0].min() >= 200 or varied.boxes[:, 1].min() < 1.5
        for x0, y0, x1, y1 in varied.boxes:
            inside = varied.array[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
            assert inside.min() < 160
    if mapping[0] in ("RandomAffine", "RandomTranslate"):
        (fit,) = (one["fit"] for one in varied.parameters if "fit" in one)
        # 248 pixels wide and 232 high: three times as large they fit at 256/744 of that, in width
        assert fit["scale"] == pytest.approx(256 / 744 if mapping[0] == "RandomAffine" else 1, abs=1e-4)


@pytest.mark.parametrize(("weight", "width"), [(1.0, 8), (2.0, 10), (0.0, 6), (-1.0, 4), (-2.0, 2)])
def test_stroke_weight_is_pixels_on_each_side(weight, width):
    image = np.full((40, 40), 255, np.uint8)
    image[:, 15:21] = 0
    setting = described(("RandomStrokeWeight", {"weight": [weight, weight], "p": 1.0}))
    varied = vary(setting, image, np.array([[15.0, 0, 21, 40]]), 0, 0)
    assert (varied.array[20] == 0).sum() == width
    reach = max(0, weight)
    assert varied.boxes.tolist() == [[15 - reach, 0, 21 + reach, 40]]
    half = described(("RandomStrokeWeight", {"weight": [0.5, 0.5], "p": 1.0}))
    assert vary(half, image, np.zeros((1, 4)), 0, 0).array[20, 14] == 128


def test_depends_on_seed_and_index_alone():
    image = written(BOXES)
    first = vary("camera", image, BOXES, 5, 9)
    vary("paper", image, BOXES, 5, 10)
    torch.manual_seed(1)
    wanted, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(1)
    torch.set_num_threads(2)
    again = vary("camera", image, BOXES, 5, 9)
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(first.array, again.array)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert first.parameters == again.parameters
    assert torch.equal(torch.rand(3), wanted)  # nor does it disturb others
    for seed, index in ((5, 10), (6, 9)):
        assert not np.array_equal(first.array, vary("camera", image, BOXES, seed, index).array)


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize(("size", "colour"), [(16, False), (64, True), (256, True)])
def test_sizes_and_colours(preset, size, colour):
    boxes = BOXES * size / 256
    varied = vary(preset, written(boxes * 0.9, size, colour), boxes, 0, 0)
    assert varied.array.shape == ((size, size, 3) if colour else (size, size))
    assert varied.array.dtype == np.uint8
    assert varied.boxes.shape == boxes.shape
    assert varied.array.std() > 5
    assert json.loads(json.dumps(varied.parameters)) == varied.parameters


def test_operations_are_applied_as_often_as_asked():
    image = written(BOXES[1:2] / 4, 64)
    for asked, low, high in ((0.0, 0, 0), (0.25, 6, 24), (1.0, 60, 60)):
        setting = described(
            ("RandomLinearIllumination", {"p": asked}), ("RandomAffine", {"degrees": 9, "p": 1 - asked})
        )
        done = [vary(setting, image, BOXES[1:2] / 4, 0, index).parameters for index in range(60)]
        applied = sum(any("RandomLinearIllumination" in one for one in of_image) for of_image in done)
        assert low <= applied <= high
        left_out = [of_image for of_image in done if not any("RandomAffine" in one for one in of_image)]
        assert len(left_out) == 60 if asked == 1 else len(left_out) < 60


def test_every_operation_works_on_grey_and_colour():
    needed = {
        "RandomAffine": {"degrees": 3},
        "RandomRotation": {"degrees": 3},
        "RandomShear": {"shear": 5},
        "RandomTranslate": {"translate_x": [0.0, 0.1]},
        "RandomGaussianBlur": {"kernel_size": 3, "sigma": [0.1, 1.0]},
        "RandomMotionBlur": {"kernel_size": 3, "angle": 30.0, "direction": 0.5},
    }
    for name in OPERATIONS:
        for channels in (1, 3):
            check(described((name, {**needed.get(name, {}), "p": 1.0})), 32, channels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no YAML"),
        ("just text", "should hold a list of operations"),
        ("[]", "should hold a list of operations"),
        ("- [1, 2]", "operation 1 should be a name"),
        ("- RandomAffine: {degrees: 2}\n  RandomShear: {shear: 2}", "operation 1 should be a name"),
        (
            "- RandomAffine: {degrees: 2}\n- RandomCrop: {size: [3, 3]}",
            "operation 2, 'RandomCrop', is none of RandomAffine",
        ),
        ("- RandomErasing: {p: 1}", "operation 1, 'RandomErasing', is none of RandomAffine"),
        ("- os.system: ls", "'os.system', is none of"),
        ("- RandomAffine: [1]", "RandomAffine needs options by name"),
        ("- RandomAffine: {degrees: 2000-01-01}", "may be numbers, texts and lists"),
        ("- RandomAffine: {degrees: .nan}", "may be numbers, texts and lists"),
        ("- !!python/object/apply:os.system [ls]", "is no YAML"),
        ("\x00", "is no YAML"),
        ("- RandomAffine: {}", "RandomAffine does not work with {}: .*degrees"),
        ("- RandomAffine: {degrees: 2, twist: 4}", "RandomAffine does not work with .*twist"),
        ("- RandomGaussianBlur: {kernel_size: 4, sigma: [1, 2]}", "RandomGaussianBlur does not work with"),
        ("- RandomPosterize: {bits: [many]}", "RandomPosterize does not work with"),
        ("- RandomAutoContrast: {p: 2}", "RandomAutoContrast does not work with .*p is a number from 0 to 1"),
        ("- RandomAutoContrast: {p: often}", "RandomAutoContrast does not work with"),
        ("- RandomStrokeWeight: {weight: [0, 99], p: 1.0}", "RandomStrokeWeight does not work with"),
    ],
)
def test_files_that_do_not_work(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        check(chosen(str(path)), 32, 1)


def test_chosen(tmp_path):
    assert chosen("none") == "none"
    assert operations("none", 256) == []
    assert chosen("camera") == "camera"
    with pytest.raises(ValueError, match="one of none, light, paper, camera or a YAML file; there is no file 'dark'"):
        chosen("dark")
    path = tmp_path / "mine.yaml"
    path.write_text("- RandomShear: {shear: [-9, 9], p: 1.0}\n- RandomAutoContrast\n")
    (first, second) = operations(chosen(str(path)), 64)
    assert (first.name, first.options) == ("RandomShear", {"shear": [-9, 9], "p": 1.0})
    assert (second.name, second.options) == ("RandomAutoContrast", {})
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is no YAML"):
        chosen(str(path))
    path.write_text("#" * 70_000)
    with pytest.raises(ValueError, match="longer than 65536 bytes"):
        chosen(str(path))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


def generate(weights, out, *arguments):
    options = ["--weights", weights, "--device", "cpu", "--size", 64, "--out", out, "--random", 5, "--seed", 2]
    result = CliRunner().invoke(command, [str(a) for a in (*options, *arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.slow
def test_same_run_whatever_the_workers(weights, tmp_path):
    plain = generate(weights, tmp_path / "plain")
    assert plain.exit_code == 0, plain.output
    for name, workers in (("none", 0), ("two", 1)):
        result = generate(weights, tmp_path / name, "--augment", "paper", "--workers", workers)
        assert result.exit_code == 0, result.output
    labels = [json.loads(line) for line in (tmp_path / "none" / "labels.jsonl").read_text().splitlines()]
    before = [json.loads(line) for line in (tmp_path / "plain" / "labels.jsonl").read_text().splitlines()]
    assert len(labels) == 5
    for label, unvaried in zip(labels, before, strict=True):
        assert json.loads(label["augment"])[0]["RandomAffine"]["shear_x"] != 0
        assert "augment" not in unvaried
        assert label["boxes"] != unvaried["boxes"]
        assert label["latex"] == unvaried["latex"]
        assert (tmp_path / "none" / label["image"]).read_bytes() != (tmp_path / "plain" / label["image"]).read_bytes()
    for name in (*(label["image"] for label in labels), "labels.jsonl", "contact_sheet.png", "manifest.json"):
        assert (tmp_path / "none" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert Manifest.load(tmp_path / "two").settings.augment == "paper"
    assert "<td>paper</td>" in (tmp_path / "two" / "report.html").read_text()
    other = generate(weights, tmp_path / "two", "--augment", "light")
    assert other.exit_code == 1
    assert "augment paper, not light" in other.stderr


def test_own_file(weights, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("- RandomShear: {shear: [20, 20], p: 1.0}\n")
    result = generate(weights, tmp_path / "out", "--augment", path)
    assert result.exit_code == 0, result.output
    setting = Manifest.load(tmp_path / "out").settings.augment
    assert json.loads(setting) == [{"RandomShear": {"shear": [20, 20], "p": 1.0}}]
    path.write_text("- RandomShear: {shear: [10, 10], p: 1.0}\n")  # another content is another run
    assert "[10, 10]" in generate(weights, tmp_path / "out", "--augment", path).stderr
    for bad in (tmp_path / "missing.yaml", tmp_path):
        result = generate(weights, tmp_path / "bad", "--augment", bad)
        assert result.exit_code == 1
        assert "or a YAML file; there is no file" in result.stderr
    assert not (tmp_path / "bad").exists()


def test_without_kornia():
    """A clear word, and no torch in processes that only encode."""
    code = """
import sys
sys.modules["kornia"] = None
from hmeg.generation import encoding
from hmeg.image_sets.encoding import png
import numpy as np
image = np.zeros((8, 8), np.uint8)
assert encoding.varied_and_encoded("none", png, image, np.zeros((1, 4)), 0, 0)[0] is None
assert "torch" not in sys.modules
try:
    encoding.varied_and_encoded("light", png, image, np.zeros((1, 4)), 0, 0)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("--augment needs kornia"), done.stderr
    assert "pip install 'hmeg[augment]'" in done.stdout
