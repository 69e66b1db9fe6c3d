"""The generator: labels, determinism whatever the batch, sizes, errors."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

import hmeg
from hmeg.data.relation_records import from_records
from hmeg.devices import select_device
from hmeg.generation import generator as module
from hmeg.generation.generator import Generator
from hmeg.generation.loading import load
from hmeg.generation.tasks import Task, repeated
from hmeg.graph import Relation, SymbolGraph
from hmeg.graph.latex import parse_latex
from hmeg.graph.latex_source import MAX_SYMBOLS
from hmeg.graph.vocabulary import Symbol, Vocabulary
from hmeg.model.display import resize, to_pixels, upright
from hmeg.model.noise import box_noise, image_noise
from hmeg.weights import bundled_weights
from tests.support.tiny_model import EXTENDED, TINY, save_tiny, tiny_model

EXPRESSIONS = ["x", r"\frac{a+b}{\sqrt{c}}", "y = x^{2}", r"\sum_{i=1}^{n} i", "a b c d e f g h", "1", r"\int_0^1 x"]


@pytest.fixture(scope="module")
def generator():
    return Generator(tiny_model(), "cpu", "tiny")


def tasks_of(expressions):
    return list(repeated([parse_latex(e) for e in expressions], 1))


def test_sample_is_complete(generator):
    (sample,) = generator(r"\frac{a}{b}", seed=5, size=64)
    assert sample.array.shape == (64, 64)
    assert sample.array.dtype == np.uint8
    assert sample.image.mode == "L"
    assert sample.image.size == (64, 64)
    assert (sample.array.min(), sample.array.max()) == (0, 255)
    assert sample.latex == r"\frac{a}{b}"
    assert sorted(sample.graph.symbols) == ["-", "a", "b"]
    assert sample.boxes.shape == (3, 4)
    assert (sample.seed, sample.index) == (5, 0)
    assert sample.weights == f"tiny@{generator.model.weights_id or sample.weights.split('@')[1]}"
    label = sample.label()
    assert label["symbols"] == list(sample.graph.symbols)
    assert from_records(label["relations"]) == sample.graph.relations
    assert "line" not in label


def test_image_is_what_the_model_computes(generator):
    """Against the networks run by hand, with the sample's noise."""
    from hmeg.model.graph_batch import GraphBatch

    graph = parse_latex("x + 1")
    (sample,) = generator(graph, seed=3, size=64)
    batch = GraphBatch.from_graphs([graph])
    with torch.inference_mode():
        boxes = generator.model.layout_generator(batch, torch.from_numpy(box_noise(3, TINY.layout.noise_dim, 3, 0)))
        boxes = torch.from_numpy(upright(boxes.numpy()))
        noise = image_noise(TINY.image.noise_dim, 64, 3, [0])
        output = generator.model.image_model(batch, noise, boxes)
    np.testing.assert_array_equal(sample.graph.boxes, boxes.numpy())
    image = output.images[64][0, 0].numpy()
    expected = (image - image.min()) / (image.max() - image.min()) * 255
    np.testing.assert_allclose(sample.array, expected, atol=0.51)


def test_image_noise_is_made_once_a_batch_where_images_are_drawn(generator, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "image_noise", lambda *given: asked.append(given[2:]) or image_noise(*given))
    generator.draw_together(tasks_of(["x", "y + 1", "z"]), seed=6, size=64)
    assert [(seed, list(indices), device) for seed, indices, device in asked] == [(6, [0, 1, 2], generator.device)]


def test_count_and_indices(generator):
    samples = generator(["x", "y"], seed=1, count=3, size=64)
    assert [s.index for s in samples] == [0, 1, 2, 3, 4, 5]
    assert [s.latex for s in samples] == ["x", "x", "x", "y", "y", "y"]
    assert len({s.array.tobytes() for s in samples}) == 6


def test_seed_changes_image_and_boxes(generator):
    (first,), (again,), (other,) = (generator("x + 1", seed=s, size=64) for s in (0, 0, 1))
    assert first.array.tobytes() == again.array.tobytes()
    assert first.array.tobytes() != other.array.tobytes()
    assert not np.array_equal(first.graph.boxes, other.graph.boxes)


def test_temperature_is_how_much_layouts_vary(generator):
    def boxes(temperature):
        return np.stack([s.graph.boxes for s in generator("x + 1", count=4, size=64, temperature=temperature)])

    def spread(temperature):
        return boxes(temperature).std(axis=0).mean()

    np.testing.assert_array_equal(boxes(1.0), np.stack([s.graph.boxes for s in generator("x + 1", count=4, size=64)]))
    assert spread(0) == 0 < spread(0.1) < spread(1)
    first, second = generator("x + 1", count=2, size=64, temperature=0)
    assert first.array.tobytes() != second.array.tobytes(), "only layouts are alike"


@pytest.mark.parametrize("temperature", [-0.1, 2.1, float("nan"), float("inf")])
def test_temperature_out_of_range(generator, temperature):
    with pytest.raises(ValueError, match=r"temperature must be in 0\.\.2, got"):
        generator("x", size=64, temperature=temperature)


def test_same_bytes_whatever_the_batch(generator):
    together = generator(EXPRESSIONS, seed=2, size=64, batch_size=7)
    apart = generator(EXPRESSIONS, seed=2, size=64, batch_size=1)
    tasks = tasks_of(EXPRESSIONS)
    backwards = list(generator.stream(tasks[::-1], seed=2, size=64, batch_size=3))[::-1]
    for a, b, c in zip(together, apart, backwards, strict=True):
        assert a.array.tobytes() == b.array.tobytes() == c.array.tobytes()
        assert a.boxes.tobytes() == b.boxes.tobytes() == c.boxes.tobytes()


def test_same_bytes_whatever_the_batch_at_full_size():
    generator = Generator(tiny_model(dataclasses.replace(hmeg.ModelConfig.named("small"), name="wide")), "cpu")
    tasks = tasks_of(EXPRESSIONS[:3])
    several = list(generator.stream(tasks, seed=4, batch_size=32))
    alone = [next(generator.stream([task], seed=4, batch_size=1)) for task in tasks[::-1]][::-1]
    for a, b in zip(several, alone, strict=True):
        assert a.array.tobytes() == b.array.tobytes()
        assert a.boxes.tobytes() == b.boxes.tobytes()


def test_computed_together_is_the_same_to_rounding(generator):
    """What a GPU does: many expressions in one graph batch; noise, boxes and images go to the right samples."""
    tasks = tasks_of(EXPRESSIONS)
    tasks[4] = Task(4, tasks[4].graph.with_boxes(np.tile([0.1, 0.2, 0.5, 0.6], (8, 1))))
    together = generator.draw_together(tasks, seed=2, size=64)
    for task, sample in zip(tasks, together, strict=True):
        (alone,) = generator.draw_together([task], seed=2, size=64)
        np.testing.assert_allclose(sample.graph.boxes, alone.graph.boxes, atol=1e-5)
        difference = np.abs(sample.array.astype(int) - alone.array.astype(int))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01


def test_stream_is_lazy(generator):
    taken = []

    def endless():
        for index in range(10**9):
            taken.append(index)
            yield Task(index, parse_latex("x"))

    stream = generator.stream(endless(), size=64, batch_size=4)
    assert [next(stream).index for _ in range(3)] == [0, 1, 2]
    assert len(taken) <= 4


def test_stream_of_expressions(generator):
    stream = generator.stream(iter(["x", parse_latex("y"), Task(7, parse_latex("z"), line=3), r"\hbar"]), size=64)
    first, second, third = (next(stream) for _ in range(3))
    assert [(s.latex, s.index, s.line) for s in (first, second, third)] == [("x", 0, None), ("y", 1, None), ("z", 7, 3)]
    assert third.label()["line"] == 3
    with pytest.raises(ValueError, match=r"expression 3: .*hbar"):
        next(stream)


MIXED = ["x", r"\hbar", Task(7, parse_latex("z")), "", "y"]


def test_stream_goes_on_after_what_cannot_be_drawn(generator):
    """The others keep their indices, and so their images."""
    skipped = []
    stream = generator.stream(MIXED, size=64, on_error=lambda *told: skipped.append(told))
    samples = list(stream)
    assert [(s.latex, s.index) for s in samples] == [("x", 0), ("z", 7), ("y", 4)]
    assert [(position, expression) for position, expression, _ in skipped] == [(1, r"\hbar"), (3, "")]
    assert all(isinstance(error, ValueError) for _, _, error in skipped) and "hbar" in str(skipped[0][2])
    (alone,) = generator.stream([Task(4, parse_latex("y"))], size=64)
    np.testing.assert_array_equal(samples[2].array, alone.array)


def test_stream_warns_of_what_it_skips(generator):
    with pytest.warns(hmeg.SkippedExpression) as warned:
        assert len(list(generator.stream(MIXED, size=64, on_error="skip"))) == 3
    first, second = (str(one.message) for one in warned)
    assert first.startswith(r"expression 1 ('\hbar') skipped: ") and second.startswith("expression 3 ('') skipped: ")


def test_stream_raises_what_no_text_or_graph_is_and_unknown_words(generator):
    with pytest.raises(TypeError, match="LaTeX text or a SymbolGraph, got NoneType"):
        list(generator.stream(["x", None], size=64, on_error="skip"))
    with pytest.raises(ValueError, match="on_error must be 'raise', 'skip' or a function, got 'ignore'"):
        generator.stream(["x"], size=64, on_error="ignore")


def test_lines_of_an_open_file_leave_their_ends_behind(generator):
    first, second = generator.stream(["x^2\n", "y\r\n"], size=64)
    assert [first.latex, second.latex] == ["x^2", "y"]


@pytest.mark.parametrize("size", [16, 17, 32, 50, 64])
def test_sizes(generator, size):
    (sample,) = generator(r"\frac{a}{b}", seed=0, size=size)
    assert sample.array.shape == (size, size)
    (full,) = generator(r"\frac{a}{b}", seed=0, size=64)
    np.testing.assert_array_equal(sample.graph.boxes, full.graph.boxes)
    assert (sample.boxes[:, :2] <= sample.boxes[:, 2:]).all()
    assert (sample.boxes >= 0).all()
    assert (sample.boxes <= size).all()


@pytest.mark.parametrize("size", [0, -4, 15, 65, 256])
def test_size_refused(generator, size):
    with pytest.raises(ValueError, match=f"size must be in 16..64 .*got {size}"):
        generator("x", size=size)


def test_colour_model():
    config = TINY.changed(image={"channels": 3})
    (sample,) = Generator(tiny_model(config), "cpu")("x", size=32)
    assert sample.array.shape == (32, 32, 3)
    assert sample.image.mode == "RGB"


def test_given_boxes_are_drawn(generator):
    boxes = np.array([[0.6, 0.9, 0.2, 0.1], [-0.5, 0.2, 1.5, 0.4]])
    graph = SymbolGraph(("x", "y"), (Relation(0, 1, "Right"),), boxes=boxes)
    (sample,) = generator(graph, size=64)
    np.testing.assert_allclose(sample.graph.boxes, [[0.2, 0.1, 0.6, 0.9], [-0.5, 0.2, 1.5, 0.4]], atol=1e-6)
    assert sample.latex == "x y"
    (elsewhere,) = generator(graph.with_boxes(boxes + 0.1), size=64)
    assert sample.array.tobytes() != elsewhere.array.tobytes()


def test_graph_that_latex_cannot_write(generator):
    graph = SymbolGraph(("e", "f", "g"), (Relation(0, 1, "Sub"), Relation(0, 2, "Sub")))
    (sample,) = generator(graph, size=32)
    assert sample.latex is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (r"x + \hbar", r"expression 1: .*\\hbar"),
        ("", "expression 1: "),
        (SymbolGraph(()), "expression 1: the expression has no symbols"),
        (SymbolGraph(("x",) * (MAX_SYMBOLS + 1)), f"at most {MAX_SYMBOLS} can be drawn"),
        (SymbolGraph(("x",), boxes=np.full((1, 4), np.nan)), "boxes that are not finite"),
    ],
)
def test_unusable_expressions(generator, expression, message):
    with pytest.raises(ValueError, match=message):
        generator(["x", expression], size=64)


def test_wrong_arguments(generator):
    with pytest.raises(TypeError, match="LaTeX text or a SymbolGraph, got int"):
        generator([7])
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        generator("x", count=0, size=64)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        generator("x", batch_size=0, size=64)
    with pytest.raises(ValueError, match="seed must be in"):
        generator("x", seed=-1, size=64)
    with pytest.raises(TypeError, match="seed must be a whole number, got"):
        generator("x", seed=1.5, size=64)


def test_damaged_weights_are_noticed():
    model = tiny_model()
    with torch.no_grad():
        model.image_model.decoder.heads[-1].out.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"sample 0 of seed 9: .*not finite"):
        Generator(model, "cpu")("x", seed=9, size=64)


@pytest.mark.parametrize(
    ("device", "message"), [("tpu9", "tpu9"), ("meta", "auto, cpu or cuda"), ("cuda:99", "'cuda:99' is not there")]
)
def test_device_refused(device, message):
    with pytest.raises(ValueError, match=message):
        select_device(device)


def test_load_by_path_and_name(tmp_path):
    generator = load(save_tiny(tmp_path / "mine.safetensors"), "cpu")
    assert generator.weights == f"mine@{generator.model.weights_id}"
    assert generator.metadata == {"licence": "none, random numbers"}
    assert generator.sizes == (16, 32, 64)
    with pytest.raises(FileNotFoundError, match=r"is a folder: weights are a .safetensors file.*hmeg train pack"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no weights 'nothing': .*hmeg train pack"):
        load("nothing", "cpu")
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        load(tmp_path / "bad.safetensors", "cpu")


def test_bundled_weights_draw_ink_on_paper():
    assert "small" in bundled_weights()
    (sample,) = hmeg.load("small", "cpu")(r"\frac{a}{b}", seed=0)
    assert sample.array.shape == (256, 256)
    assert np.median(sample.array) > 200
    assert 0.002 < (sample.array < 100).mean() < 0.3


def test_display_scales_to_full_range():
    image = np.array([[[0.25, 0.5], [0.75, 0.3]]], dtype=np.float32)
    assert to_pixels(image).tolist() == [[0, 128], [255, 26]]
    overshoot = np.array([[[0.0, 1.0], [1.3, 0.5]]], np.float32)
    assert to_pixels(overshoot).tolist() == [[0, 255], [255, 128]], "paper is 1, and no brighter beside a stroke"
    assert to_pixels(np.full((1, 2, 2), 0.4, np.float32)).tolist() == [[255, 255], [255, 255]]
    assert to_pixels(np.zeros((3, 2, 2), np.float32)).shape == (2, 2, 3)
    with pytest.raises(ValueError, match="not finite"):
        to_pixels(np.array([[[np.inf, 0]]], np.float32))


def test_resize_keeps_the_mean_and_makes_no_halo():
    image = np.ones((1, 64, 64), np.float32)
    image[0, 20:40, 30] = 0
    small = resize(image, 24)
    assert small.shape == (1, 24, 24)
    assert small.max() <= 1 + 1e-6
    assert small.min() >= 0
    assert abs(small.mean() - image.mean()) < 2e-3


def test_boxes():
    disordered = np.array([[0.9, 0.1, 0.2, 0.4]], np.float32)
    np.testing.assert_array_equal(upright(disordered), np.array([[0.2, 0.1, 0.9, 0.4]], np.float32))


@pytest.mark.parametrize(("name", "value"), [("size", "64"), ("size", 64.0), ("batch_size", None), ("seed", "1")])
def test_what_should_be_whole_numbers(generator, name, value):
    with pytest.raises(TypeError, match=f"{name} must be a whole number, got {value!r}"):
        generator.stream(["x"], **{"size": 64, name: value})


def test_weights_say_which_symbols_they_do_not_know(generator):
    with pytest.raises(ValueError, match=r"expression 1: weights '.+' do not know \\omega, W; they know 101 symbols"):
        generator(["x", r"\omega W"], size=64)
    with pytest.raises(ValueError, match=r"do not know &"):
        generator([r"\binom{x}{y}"], size=64)


def test_weights_bring_their_vocabulary(generator):
    """In their metadata: here one in which the ids of x and y are exchanged."""
    known = Vocabulary.crohme()
    x, y = known.id_of("x") - 1, known.id_of("y") - 1
    names = list(known.names)
    names[x], names[y] = names[y], names[x]
    model = copy.deepcopy(generator.model)
    model.metadata = {"vocabulary": known.of(names).to_table()}
    other = Generator(model, device="cpu")
    assert other.vocabulary.id_of("x") == known.id_of("y")
    (mine,), (theirs,) = other("y", size=64), generator("x", size=64)
    np.testing.assert_array_equal(mine.array, theirs.array)
    model.metadata = {"vocabulary": Vocabulary.open().to_table()}
    with pytest.raises(ValueError, match="have a vocabulary of 367 symbols, and networks of fewer"):
        Generator(model, device="cpu")
    model.metadata = {"vocabulary": known.of(["x"]).to_table()}
    with pytest.raises(ValueError, match="do not know y; they know 1 symbols"):
        Generator(model, device="cpu")("y", size=64)


@pytest.mark.parametrize("config", [TINY, EXTENDED])
def test_networks_of_more_symbols_draw_them(config):
    known = Vocabulary.open().joined(Vocabulary([Symbol(r"\smiley", "sign", box=(1.0, 0.0, 1.2), characters="☺")]))
    config = config.changed(image={"symbols": len(known)}, layout={"symbols": len(known)})
    model = tiny_model(config)
    model.metadata = {"vocabulary": known.to_table()}
    (sample,) = Generator(model, device="cpu")([r"\omega + W ☺"], size=64)
    assert sample.graph.symbols == (r"\omega", "+", "W", r"\smiley")
    assert sample.label()["tokens"] == [r"\omega", "+", "W", r"\smiley"]


def test_a_single_expression_is_not_taken_apart(generator):
    for expression in ("x ^ 2", parse_latex("x ^ 2")):
        (sample,) = generator.stream(expression, size=64)
        assert sample.graph.symbols == ("x", "2")
