"""Reading many images at once is reading each by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.published_recogniser import read_one
from hmeg.recognition import Preparation
from hmeg.recognition.batches import by_size, stack_images
from hmeg.recognition.decoder import DecoderState
from hmeg.recognition.greedy import greedy
from hmeg.recognition.inference import for_inference
from hmeg.recognition.model import CAN, EOS, SOS, Encoded
from hmeg.recognition.recogniser import Recogniser
from hmeg.recognition.words import default_words
from tests.support.can_samples import tiny_config

WORDS = default_words()
SIZES = [(33, 47), (48, 96), (31, 64), (64, 17), (49, 95), (16, 16), (1, 40)]
LONGEST = 12


@pytest.fixture(scope="module")
def model() -> CAN:
    """Random weights and batch statistics, in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        can = CAN(tiny_config(len(WORDS))).double().eval()
        for name, value in can.state_dict().items():
            if value.is_floating_point():
                value.copy_(
                    torch.randn_like(value).abs() + 0.5 if "running_var" in name else 0.4 * torch.randn_like(value)
                )
    return can


def inks(sizes: list[tuple[int, int]] = SIZES) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.integers(0, 256, size).astype(np.uint8) for size in sizes]


def encoded(model: CAN, images: list[np.ndarray], isolated: bool = True) -> Encoded:
    batch = stack_images(images)
    return model.encode(batch.images().double(), batch.mask().double(), isolated)


@torch.no_grad()
def test_an_image_has_the_same_features_and_counts_in_any_company(model: CAN) -> None:
    images = inks()
    together = encoded(model, images)
    for row, image in enumerate(images):
        alone = encoded(model, [image], isolated=False)  # as published: nothing is filled up
        height, width = alone.features.shape[2:]
        assert (height, width) == (-(-image.shape[0] // 16), -(-image.shape[1] // 16))
        torch.testing.assert_close(together.features[row, :, :height, :width], alone.features[0], rtol=0, atol=1e-11)
        torch.testing.assert_close(together.counts[row], alone.counts[0], rtol=0, atol=1e-11)
        assert not together.features[row, :, height:].any()
        assert not together.features[row, :, :, width:].any()
        assert together.mask[row].sum() == height * width


@torch.no_grad()
def test_without_masks_the_filling_is_seen(model: CAN) -> None:
    """What the published batches do; this is what isolation is for."""
    images = inks()
    together, alone = encoded(model, images, isolated=False), encoded(model, [images[0]])
    height, width = alone.features.shape[2:]
    assert (together.features[0, :, :height, :width] - alone.features[0]).abs().max() > 1e-3


def one_by_one(model: CAN, image: np.ndarray) -> list[int]:
    """The textbook loop."""
    found = encoded(model, [image], isolated=False)
    state = model.decoder.begin(found.features, found.mask, found.counts)
    token, tokens = SOS, []
    for _ in range(LONGEST):
        scores, state = model.decoder.step(torch.tensor([token]), state)
        token = int(scores.argmax())
        if token == EOS:
            break
        tokens.append(token)
    return tokens


@torch.no_grad()
def test_batched_decoding_gives_the_tokens_of_one_at_a_time(model: CAN, monkeypatch: pytest.MonkeyPatch) -> None:
    step = model.decoder.step

    def lively(tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Random weights say the same again and again; scores bent like this depend on all of the state."""
        scores, after = step(tokens, state)
        scores = torch.sin(300 * scores)
        scores[:, EOS] = 0.9996 + 0.0006 * torch.sin(300 * after.hidden.sum(dim=1) + after.attention.amax(dim=(1, 2)))
        return scores, after

    monkeypatch.setattr(model.decoder, "step", lively)
    images = inks(SIZES * 3)
    wanted = [one_by_one(model, image) for image in images]
    assert greedy(model.decoder, encoded(model, images), LONGEST) == wanted
    assert len({len(tokens) for tokens in wanted}) >= 4, wanted
    assert len({token for tokens in wanted for token in tokens}) > 10


@torch.no_grad()
def test_rows_are_really_dropped(model: CAN, monkeypatch: pytest.MonkeyPatch) -> None:
    worked_on: list[int] = []
    step = model.decoder.step

    def ending(tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Image n of four ends after n + 1 tokens."""
        worked_on.append(len(tokens))
        scores, after = step(tokens, state)
        scores[:] = 0
        scores[:, 7] = 1
        done = torch.tensor([0, 1, 2, 3])[-len(tokens) :] < len(worked_on)
        scores[done, EOS] = 2
        return scores, after

    monkeypatch.setattr(model.decoder, "step", ending)
    found = greedy(model.decoder, encoded(model, inks([(16, 16)] * 4)), LONGEST)
    assert found == [[], [7], [7, 7], [7, 7, 7]]
    assert worked_on == [4, 3, 2, 1]


@torch.no_grad()
@pytest.mark.parametrize("sizes", [SIZES, SIZES[:1]])
def test_the_network_for_inference_computes_the_same(model: CAN, sizes: list[tuple[int, int]]) -> None:
    folded = for_inference(model)
    found, wanted = encoded(folded, inks(sizes)), encoded(model, inks(sizes))
    torch.testing.assert_close(found.features, wanted.features, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.counts, wanted.counts, rtol=0, atol=1e-10)
    assert folded.decoder is model.decoder
    assert {name for name, _ in model.named_modules()} >= {"encoder.dense1.0.bn1", "decoder.embedding"}


def recogniser() -> Recogniser:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Recogniser(CAN(tiny_config(len(WORDS))), WORDS, Preparation())


def test_readings_come_in_the_images_order_whatever_the_batch() -> None:
    reader, images = recogniser(), [255 - ink for ink in inks()]
    wanted = [reader.recognise([image], longest=5)[0] for image in images]
    seen: list[int] = []
    for batch_size in (1, 2, 3, 50):
        found = reader.recognise(iter(images), batch_size, longest=5, progress=seen.append)
        assert [r.tokens for r in found] == [r.tokens for r in wanted]
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours.counts, theirs.counts, atol=1e-4)
    assert sum(seen) == 4 * len(images)


def test_the_published_loop_reads_the_same() -> None:
    """The baseline of ``python -m bench recognise``: every step from scratch, the attention as published."""
    reader = recogniser()
    for ink, reading in zip(inks(), reader.recognise([255 - ink for ink in inks()], longest=9), strict=True):
        ids, counts = read_one(reader.model, torch.from_numpy(ink)[None, None].float() / 255, 9)
        assert WORDS.decode(ids) == reading.tokens
        np.testing.assert_allclose(counts, reading.counts, atol=1e-4)


def test_pillow_images_are_read_like_arrays() -> None:
    reader, (ink, *_) = recogniser(), inks()
    (array,), (picture,) = reader.recognise([ink], longest=5), reader.recognise([Image.fromarray(ink)], longest=5)
    assert array.tokens == picture.tokens
    assert recogniser().recognise([]) == []


def test_what_is_no_image_is_refused() -> None:
    for wrong in (np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)):
        with pytest.raises(ValueError, match="an image must be"):
            recogniser().recognise([wrong])
    with pytest.raises(ValueError, match="batch_size"):
        recogniser().recognise(inks(), batch_size=0)


def test_bf16_reads() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = CAN(tiny_config(len(WORDS)))
    exact = Recogniser(network, WORDS, Preparation()).recognise(inks(), longest=3)
    rough = Recogniser(network, WORDS, Preparation(), "bf16").recognise(inks(), longest=3)
    for ours, theirs in zip(rough, exact, strict=True):
        np.testing.assert_allclose(ours.counts, theirs.counts, rtol=0.05, atol=0.3)
    with pytest.raises(ValueError, match="precision"):
        Recogniser(network, WORDS, Preparation(), "fp8")


def test_batches_are_of_similar_sizes() -> None:
    sizes = [(10, 50), (90, 10), (12, 90), (80, 10), (32, 48)]
    assert [batch.tolist() for batch in by_size(sizes, 2)] == [[4, 0], [2, 3], [1]]


def test_batches_end_where_too_much_would_be_filled_up() -> None:
    sizes = [(16, 16), (16, 17), (16, 100), (30, 100), (31, 101), (32, 100), (90, 10)]
    found = [batch.tolist() for batch in by_size(sizes, 2, 1.2)]
    assert sorted(row for batch in found for row in batch) == list(range(7))
    assert found == [[0, 1], [2], [3, 5], [4], [6]]
    for batch in found:
        tallest, widest = max(sizes[row][0] for row in batch), max(sizes[row][1] for row in batch)
        assert len(batch) * tallest * widest <= 1.2 * sum(sizes[row][0] * sizes[row][1] for row in batch)
    assert len(by_size([(8, 8)] * 10, 4, 1.0)) == 3


def test_preparation_trims_and_shrinks() -> None:
    image = np.full((40, 60), 255, np.uint8)
    image[10:20, 30:50] = 0
    assert Preparation()(image).shape == (40, 60)
    assert Preparation()(image)[15, 35] == 255
    trimmed = Preparation(trim=3)(image)
    assert trimmed.shape == (16, 26)
    assert trimmed[3:13, 3:23].all()
    assert not trimmed[:3].any()
    assert Preparation(trim=1000)(image).shape == (40, 60)
    small = Preparation(trim=0, shrink=4)(image)
    assert small.shape == (3, 5)
    np.testing.assert_array_equal(small[:, 0], [255, 255, 128])  # the last row is half filled up with paper
    assert Preparation(trim=0)(np.full((5, 5), 250, np.uint8)).shape == (5, 5)  # nothing but paper
    for wrong in ({"trim": -2}, {"shrink": 0}, {"shrink": 17}):
        with pytest.raises(ValueError, match=r"--trim|--shrink"):
            Preparation(**wrong)
