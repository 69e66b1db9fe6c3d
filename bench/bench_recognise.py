"""Images read by the full-size CAN: many at once beside one at a time as published.

Weights are random and never end an expression: every image is read for 16 tokens, the mean of CROHME. ``square`` are
images of 256 x 256 as ``hmeg generate`` writes them; ``trimmed`` are the same cut to their ink, of different sizes.

eager      published: one image at a time, one step after the other (baseline)
hmeg-1     ours, one image at a time
hmeg       ours, as many at once as suit the device
hmeg-bf16  the same in bfloat16; held to counts within 5 %, for a token may differ
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset
from hmeg.recognition.config import CanConfig
from hmeg.recognition.model import CAN, EOS
from hmeg.recognition.preparation import Preparation
from hmeg.recognition.recogniser import Recogniser
from hmeg.recognition.words import default_words

from .measure import Case, measure
from .published_recogniser import read_one
from .subjects import DEVICE
from .training_data import write_dataset

IMAGES = 16
LENGTH = 16
ROUNDS = 2
WORDS = default_words()
PREPARED = {"square": Preparation(), "trimmed": Preparation(trim=8)}
SUBJECTS: dict[str, tuple[int | None, str]] = {
    "hmeg-1": (1, "fp32"),
    "hmeg": (None, "fp32"),
    "hmeg-bf16": (None, "bf16"),
}


@functools.cache
def network() -> CAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CAN(CanConfig()).eval()
    with torch.no_grad():
        model.decoder.word_convert.bias[EOS] = -1e6
    return model.to(DEVICE)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    data = CrohmeDataset(write_dataset(tmp_path_factory.mktemp("recognise") / "data", IMAGES))
    return [data.image(row) for row in range(IMAGES)]


def published(images: list[np.ndarray], preparation: Preparation) -> list[Tensor]:
    found = []
    for image in images:
        ink = torch.from_numpy(preparation(image)).to(DEVICE).float().div_(255)[None, None]
        found.append(read_one(network(), ink, LENGTH))
    return _results([(WORDS.decode(ids), counts.cpu()) for ids, counts in found], tokens=True)


_KEPT: dict[str, list[Tensor]] = {}


def kept(kind: str, read: Callable[[], list[Tensor]]) -> list[Tensor]:
    """What the baseline reads: every subject is held against it, so it is read once."""
    if kind not in _KEPT:
        _KEPT[kind] = read()
    return _KEPT[kind]


def ours(recogniser: Recogniser, images: list[np.ndarray], batch_size: int | None, tokens: bool) -> list[Tensor]:
    readings = recogniser.recognise(images, batch_size, LENGTH)
    return _results([(reading.tokens, torch.from_numpy(reading.counts)) for reading in readings], tokens)


def _results(found: list[tuple[tuple[str, ...], Tensor]], tokens: bool) -> list[Tensor]:
    counts = torch.stack([counts for _, counts in found])
    return [counts, *(torch.tensor([WORDS.ids[t] for t in read], dtype=torch.float32) for read, _ in found if tokens)]


@pytest.mark.parametrize("subject", ["eager", *SUBJECTS])
@pytest.mark.parametrize("kind", PREPARED)
def test_recognise(benchmark: Any, images: list[np.ndarray], kind: str, subject: str) -> None:
    function: Callable[[], list[Tensor]] = functools.partial(published, images, PREPARED[kind])
    wanted = kept(kind, function)
    exact = True
    if subject != "eager":
        batch_size, precision = SUBJECTS[subject]
        exact = precision == "fp32"
        recogniser = Recogniser(network(), WORDS, PREPARED[kind], precision)
        function = functools.partial(ours, recogniser, images, batch_size, exact)
    name = f"recognise/{kind}{IMAGES}/forward"
    case = Case(name, lambda: wanted if exact else wanted[:1], tolerance=1e-4 if exact else 5e-2)
    measure(benchmark, case, subject, function, rounds=ROUNDS)
    seconds = float(np.median(benchmark.stats.stats.data))
    print(f"{name:38} {subject:12} {IMAGES / seconds:.2f} images/s", flush=True)
