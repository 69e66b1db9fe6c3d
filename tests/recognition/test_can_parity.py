"""CAN with the published weights' recipe gives the published numbers: every array of can.npz.

The file (``shared/parity`` beside the repository) is not part of the repository; without it these tests are skipped.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmeg.recognition.config import CanConfig
from hmeg.recognition.counting import counting_labels
from hmeg.recognition.model import CAN, SOS, counting_loss, word_loss
from tests.support.recipe import recipe

PARITY = Path(__file__).resolve().parents[2].parent / "shared" / "parity"
HAS_REFERENCE = (PARITY / "can.npz").is_file()
pytestmark = pytest.mark.skipif(not HAS_REFERENCE, reason="needs shared/parity beside the repository")

UNCOUNTED = (0, 1, 107, 108, 109, 110)
INPUTS = {"image", "labels", "train.images", "train.mask", "train.labels", "train.labels_mask"}
# Of the largest value. Energies of attention are tens: their rounding is that many times larger in the exponential.
TOLERANCE = {"alpha0": 5e-6, "alpha1": 5e-6, "alpha5": 5e-6}


@functools.cache
def reference() -> dict[str, np.ndarray]:
    with np.load(PARITY / "can.npz") as file:
        return {key: file[key] for key in file}


def given(key: str) -> Tensor:
    return torch.from_numpy(reference()[key])


def weights() -> dict[str, Tensor]:
    return recipe("can", json.loads((PARITY / "can_manifest.json").read_text())["state_dict_shapes"])


@functools.cache
def model() -> CAN:
    can = CAN(CanConfig()).eval()
    can.load_state_dict(weights())  # strict: the very keys and shapes
    return can


@functools.cache
@torch.no_grad()
def read() -> dict[str, Tensor]:
    """The single image, greedily."""
    image = given("image")
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
    difference = encoded.counts - counting_labels(given("labels"), 111, UNCOUNTED)
    results["mae_mse"] = torch.stack([difference.abs().mean(), difference.square().mean().sqrt()])
    return results


@functools.cache
@torch.no_grad()
def taught() -> dict[str, Tensor]:
    """Two images of different sizes with the true tokens fed in."""
    images, mask, tokens = given("train.images").float(), given("train.mask").float(), given("train.labels")
    result = model()(images, mask, tokens)
    labels = counting_labels(tokens, 111, UNCOUNTED)
    return {
        "train.word_probs": result.scores,
        "train.counting": result.encoded.counts,
        "train.word_loss": word_loss(result.scores, tokens),
        "train.counting_loss": counting_loss(result.encoded, labels),
    }


@pytest.mark.parametrize("key", sorted(set(reference()) - INPUTS) if HAS_REFERENCE else ["(reference file absent)"])
def test_published_number(key: str) -> None:
    found = (taught() if key.startswith("train.") else read())[key]
    want = given(key)
    assert found.shape == want.shape
    if want.is_floating_point():
        worst = float((found.double() - want.double()).abs().max()) / float(want.double().abs().max())
        assert worst <= TOLERANCE.get(key, 1e-6), f"{key} is off by {worst:.2g} of the largest value"
    else:
        assert torch.equal(found, want)
