"""CAN with weights from the recipe gives the published numbers.

Every array is one test, of the selection that lies in the repository (tests/support/published_numbers.py) and, where
``shared/parity`` lies beside the repository, of every element.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hmeg.recognition.config import CanConfig
from hmeg.recognition.counting import counting_labels
from hmeg.recognition.model import CAN, SOS, counting_loss, word_loss
from tests.support.published_numbers import Numbers, check_whole, load_whole, numbers

pytestmark = pytest.mark.xdist_group("can parity")  # one process, for networks run once a process

UNCOUNTED = (0, 1, 107, 108, 109, 110)
INPUTS = {"image", "labels", "train.images", "train.mask", "train.labels", "train.labels_mask"}
# Of the largest value. Energies of attention are tens: their rounding is that many times larger in the exponential.
TOLERANCE = {"alpha0": 5e-6, "alpha1": 5e-6, "alpha5": 5e-6}


def published() -> Numbers:
    return numbers("can")


@functools.cache
def model() -> CAN:
    can = CAN(CanConfig()).eval()
    can.load_state_dict(published().weights("can"))  # strict: the very keys and shapes
    return can


@functools.cache
@torch.no_grad()
def read() -> dict[str, Tensor]:
    """The single image, greedily."""
    image = published()["image"]
    encoded = model().encode(image, torch.ones_like(image), isolated=False)
    results = {"features": encoded.features, "counting": encoded.counts}
    state = model().decoder.begin(encoded.features, encoded.mask, encoded.counts)
    token, tokens = torch.tensor([SOS]), []
    for step in range(200):
        scores, state = model().decoder.step(token, state)
        token = scores.argmax(dim=1)
        tokens.append(int(token))
        if step in (0, 1, 5):
            results[f"alpha{step}"] = state.attention
    results["tokens"] = torch.tensor(tokens)
    difference = encoded.counts - counting_labels(published()["labels"], 111, UNCOUNTED)
    results["mae_mse"] = torch.stack([difference.abs().mean(), difference.square().mean().sqrt()])
    return results


@functools.cache
@torch.no_grad()
def taught() -> dict[str, Tensor]:
    """Two images of different sizes with the true tokens fed in."""
    images, mask, tokens = (
        published()["train.images"].float(),
        published()["train.mask"].float(),
        published()["train.labels"],
    )
    result = model()(images, mask, tokens)
    labels = counting_labels(tokens, 111, UNCOUNTED)
    return {
        "train.word_probs": result.scores,
        "train.counting": result.encoded.counts,
        "train.word_loss": word_loss(result.scores, tokens),
        "train.counting_loss": counting_loss(result.encoded, labels),
    }


KEYS = sorted(set(published().arrays) - INPUTS)


def ours(key: str) -> Tensor:
    return (taught() if key.startswith("train.") else read())[key]


def tolerance(key: str) -> Callable[[float], float]:
    """The largest error permitted, from the largest magnitude."""
    return lambda largest: TOLERANCE.get(key, 1e-6) * largest


@pytest.mark.parametrize("key", KEYS)
def test_published_number(key: str) -> None:
    published().check(key, ours(key), tolerance(key))


@pytest.mark.parametrize("key", KEYS)
def test_published_number_whole(key: str, shared: Path) -> None:
    check_whole(key, ours(key), load_whole(shared / "parity", "can")[key], tolerance(key))
