"""Images of any shape: what they are, that company does not matter, runs of them."""

import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hmeg import Canvas
from hmeg.cli.generate import command
from hmeg.generation.batching import BATCHES_AHEAD, in_shapes
from hmeg.generation.generator import Generator
from hmeg.generation.tasks import repeated
from hmeg.graph.latex import parse_latex
from hmeg.image_sets import open_images
from tests.support.tiny_model import EXTENDED, save_tiny, tiny_model

EXPRESSIONS = ["x", r"\frac{a+b}{\sqrt{c}}", "y = x^{2}", r"\sum_{i=1}^{n} i", "a+b+c+d+e+f+g+h", "-", "y = x^{2}"]
FIT = Canvas.fit(24, smallest=0, margin=2)


@pytest.fixture(scope="module")
def generator():
    return Generator(tiny_model(EXTENDED), "cpu", "tiny")


def tasks_of(expressions):
    return list(repeated([parse_latex(e) for e in expressions], 1))


def test_samples_say_their_shape(generator):
    samples = generator(EXPRESSIONS, seed=1, canvas=FIT)
    for sample in samples:
        height, width = sample.array.shape[:2]
        label = sample.label()
        assert (label["width"], label["height"]) == sample.shape == (width, height)
        assert width % 4 == height % 4 == 0
        assert label["x_height"] == pytest.approx(24)
        boxes = np.array(label["boxes"])
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert (boxes >= 0).all()
        assert (boxes <= [width, height] * 2).all()
        drawn_at = sample.graph.boxes * np.array([width, height] * 2)
        assert (drawn_at >= 2 - 0.01).all()  # the margin
        assert (drawn_at <= np.array([width, height] * 2) - 2 + 0.01).all()
    assert len({sample.shape for sample in samples}) > 3
    assert samples[4].shape[0] > 3 * samples[0].shape[0]


def test_company_does_not_matter(generator):
    together = generator.draw_together(tasks_of(EXPRESSIONS), 2, FIT)
    for task, sample in zip(tasks_of(EXPRESSIONS), together, strict=True):
        (alone,) = generator.draw_together([task], 2, FIT)
        assert sample.index == task.index
        assert sample.array.shape == alone.array.shape
        assert np.abs(sample.array.astype(int) - alone.array).max() <= 1
        np.testing.assert_allclose(sample.boxes, alone.boxes, atol=0.01)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_images_of_one_shape_are_drawn_together(generator, batch_size):
    drawn: list[tuple[tuple[int, int], int]] = []
    asked = 0

    def count(tasks):
        nonlocal asked
        for task in tasks:
            asked += 1
            yield task

    def launch(placed):
        shapes = {one.view.shape for one in placed}
        assert len(shapes) == 1
        drawn.append((shapes.pop(), len(placed)))
        return generator._paint_placed(placed, 2)

    stream = in_shapes(
        count(tasks_of(EXPRESSIONS * 3)),
        batch_size,
        lambda batch: generator._place(batch, 2, FIT, 1.0)[1],
        launch,
        lambda placed: placed.view.shape,
        EXTENDED.image.size,
    )
    first = next(stream)
    assert asked <= BATCHES_AHEAD * batch_size
    samples = [first, *stream]
    assert [sample.index for sample in samples] == list(range(21))
    for (height, width), count_of_batch in drawn:
        assert count_of_batch == 1 or height * width * count_of_batch <= batch_size * EXTENDED.image.size**2
    apart = list(generator.stream(tasks_of(EXPRESSIONS * 3), seed=2, canvas=FIT))
    for one, other in zip(samples, apart, strict=True):
        assert one.array.shape == other.array.shape
        assert np.abs(one.array.astype(int) - other.array).max() <= 1


def test_noise_is_that_of_the_canvas(generator):
    (first,), (again,) = (generator("x+1", seed=3, canvas=FIT) for _ in range(2))
    np.testing.assert_array_equal(first.array, again.array)
    fixed = Canvas.fixed(first.shape[0] + 16, first.shape[1], 24, smallest=0, margin=2)
    (other,) = generator("x+1", seed=3, canvas=fixed)
    assert other.shape == (first.shape[0] + 16, first.shape[1])
    assert (other.seed, other.index) == (first.seed, first.index)


def test_the_square_is_the_default(generator):
    for canvas in (Canvas.square(64), Canvas.square(33)):
        (by_size,) = generator("x+1", seed=3, size=canvas.width)
        (by_canvas,) = generator("x+1", seed=3, canvas=canvas)
        np.testing.assert_array_equal(by_size.array, by_canvas.array)
        np.testing.assert_array_equal(by_size.boxes, by_canvas.boxes)
    with pytest.raises(TypeError, match="a size or a canvas, not both"):
        generator("x", size=64, canvas=FIT)


def test_work_goes_with_the_area(generator, monkeypatch):
    computed = []
    decoder = generator._image_model.decoder
    forward = decoder.forward
    monkeypatch.setattr(
        decoder, "forward", lambda layout, sizes: computed.append(tuple(layout.shape[2:])) or forward(layout, sizes)
    )
    (short,), (long,) = generator("x", canvas=FIT), generator("a+b+c+d+e+f+g+h", canvas=FIT)
    assert computed == [short.array.shape[:2], long.array.shape[:2]]


def test_what_does_not_fit_is_an_error_that_names_it(generator):
    canvas = Canvas.fit(24, max_size=(96, 64), smallest=12)
    with pytest.raises(
        ValueError, match=r"expression 1: on a canvas of at most 96x64 its letters would be .* would do"
    ):
        generator(["x", "a+b+c+d+e+f+g+h+i+j+k+l"], canvas=canvas)


def test_bfloat16(generator):
    coarse = Generator(tiny_model(EXTENDED), "cpu", "tiny", precision="bfloat16")
    for one, other in zip(generator(EXPRESSIONS, canvas=FIT), coarse(EXPRESSIONS, canvas=FIT), strict=True):
        assert one.array.shape == other.array.shape
        assert np.abs(one.array.astype(int) - other.array).mean() < 8


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors", EXTENDED)


@pytest.fixture
def generate(tmp_path, weights):
    def run(*arguments, out=tmp_path / "out"):
        options = ["--weights", weights, "--device", "cpu", "--out", out]
        result = CliRunner().invoke(command, [str(a) for a in ("--random", 12, "--seed", 3, *arguments, *options)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def labels_in(folder, name="labels.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_a_folder_of_images_that_fit(generate, tmp_path):
    result = generate("--canvas", "fit", "--symbol-height", 24)
    assert result.exit_code == 0, result.output
    assert "million pixels/s" in result.output
    labels = labels_in(tmp_path / "out")
    for label in labels:
        with Image.open(tmp_path / "out" / label["image"]) as image:
            assert image.size == (label["width"], label["height"])
    assert len({(label["width"], label["height"]) for label in labels}) > 3
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert Canvas.parse(manifest["settings"]["canvas"]) == Canvas.fit(24)
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Width of images, pixels" in report
    assert "million pixels/s" in report
    timing = labels_in(tmp_path / "out", "timing.jsonl")
    assert sum(shard["pixels"] for shard in timing) == sum(label["width"] * label["height"] for label in labels)


@pytest.mark.parametrize("file_format", ["webdataset", "can", "comer"])
def test_other_formats_hold_images_that_fit(generate, tmp_path, file_format):
    assert generate("--canvas", "fit", "--max-size", "comer", "--format", file_format).exit_code == 0
    labels = labels_in(tmp_path / "out")
    source = {"can": "train_images.pkl", "comer": "data.zip"}.get(file_format)
    images = open_images(tmp_path / "out" / source if source else tmp_path / "out")
    assert len(images.entries) == len(labels)
    for label, entry in zip(labels, images.entries, strict=True):
        assert entry.read().shape[:2] == (label["height"], label["width"])
        assert label["width"] <= 1024
        assert label["height"] <= 256


def test_comer_images_are_on_dark_paper_up_to_their_edges(generate, tmp_path):
    assert generate("--canvas", "fit", "--format", "comer").exit_code == 0
    with zipfile.ZipFile(tmp_path / "out" / "data.zip") as archive:
        sizes = {Image.open(archive.open(name)).size for name in archive.namelist() if name.endswith(".bmp")}
    assert len(sizes) > 3


def test_a_run_goes_on_with_its_own_canvas_only(generate, tmp_path):
    assert generate("--canvas", "fit").exit_code == 0
    again = generate("--canvas", "fit")
    assert again.exit_code == 0
    assert "holds this run already" in again.output
    other = generate("--canvas", "fit", "--symbol-height", 40)
    assert other.exit_code == 1
    assert "canvas fit 4096x512, x-height 28" in other.output
    assert generate().exit_code == 1


def test_runs_of_before_there_were_canvases_are_squares(generate, tmp_path):
    assert generate("--size", 64).exit_code == 0
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["settings"]["canvas"]
    path.write_text(json.dumps(manifest))
    again = generate("--size", 64)
    assert again.exit_code == 0
    assert "holds this run already" in again.output


def test_what_would_be_too_small_is_rejected(tmp_path, weights):
    out = tmp_path / "out"
    arguments = ["--latex", "x", "--latex", "+".join("abcdefghijklm"), "--canvas", "192x64", "--min-symbol-height", 12]
    result = CliRunner().invoke(command, [*map(str, arguments), "--weights", str(weights), "--out", str(out)])
    assert result.exit_code == 0, result.output
    (rejected,) = labels_in(out, "rejected.jsonl")
    assert rejected["line"] == 2
    assert "on a canvas of 192x64 its letters would be" in rejected["reason"]
    assert "would do" in rejected["reason"]
    (label,) = labels_in(out)
    assert (label["width"], label["height"]) == (192, 64)


def test_squares_with_small_letters_are_told_of(tmp_path, weights):
    arguments = ["--latex", "+".join("abcdefghijklm"), "--size", "64", "--weights", str(weights)]
    result = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "1 image with letters less than 10 pixels high; --canvas fit draws long expressions larger" in result.output


@pytest.mark.parametrize("setting", ["light", "paper", "camera"])
def test_images_that_fit_are_varied(generate, tmp_path, setting):
    pytest.importorskip("kornia", reason="--augment needs an extra")
    assert generate("--canvas", "fit", "--augment", setting).exit_code == 0
    for label in labels_in(tmp_path / "out"):
        boxes = np.array(label["boxes"])
        assert (boxes >= 0).all()
        assert (boxes <= [label["width"], label["height"]] * 2).all()
        with Image.open(tmp_path / "out" / label["image"]) as image:
            assert image.size == (label["width"], label["height"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--canvas", "fit", "--size", "64"], "--size is for square images; --canvas fit says the size itself"),
        (["--symbol-height", "30"], "--symbol-height is for --canvas fit or WxH"),
        (["--max-size", "can"], "--max-size is for --canvas fit or WxH"),
        (["--canvas", "512x128", "--max-size", "can"], "--max-size is for --canvas fit; 512x128 is the size"),
        (["--canvas", "512"], "--canvas is square, fit or WIDTHxHEIGHT in pixels, not"),
        (["--canvas", "fit", "--symbol-height", "70"], "24.0<=x<=64.0"),
        (["--canvas", "8x512"], "width of a canvas must be in 16..8192 pixels"),
    ],
)
def test_options_that_make_no_sense(generate, arguments, message):
    result = generate(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


@pytest.mark.parametrize("file_format", ["coco", "yolo", "webdataset"])
def test_runs_of_images_that_fit_are_converted(generate, tmp_path, file_format):
    """The converted run is the one that would have been drawn in that form: same labels, same images."""
    from hmeg.cli.convert import command as convert

    assert generate("--canvas", "fit").exit_code == 0
    converted, drawn = tmp_path / "converted", tmp_path / "drawn"
    result = CliRunner().invoke(convert, [str(tmp_path / "out"), "--to", file_format, "--out", str(converted)])
    assert result.exit_code == 0, result.output
    assert generate("--canvas", "fit", "--format", file_format, out=drawn).exit_code == 0
    assert (converted / "labels.jsonl").read_bytes() == (drawn / "labels.jsonl").read_bytes()
    for shard in drawn.glob("*.tar"):
        assert (converted / shard.name).read_bytes() == shard.read_bytes()
