"""The selection of published numbers is small, and is what the whole numbers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.published_numbers import FILES, FOLDER, Numbers, numbers, write


def test_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 400_000


def test_is_the_selection_that_the_program_makes(shared: Path, tmp_path: Path) -> None:
    write(shared / "parity", tmp_path)
    for name in FILES:
        again, ours = Numbers(name, tmp_path), numbers(name)
        assert again.measures == ours.measures and again.networks == ours.networks
        assert again.arrays.keys() == ours.arrays.keys()
        assert all(np.array_equal(array, ours.arrays[key]) for key, array in again.arrays.items())


@pytest.mark.parametrize("change", ["an element that is kept", "an element that is not kept", "the shape"])
def test_a_wrong_result_is_seen(change: str) -> None:
    published = numbers("reference")
    images = published.measures["generator.img_64"]
    kept = published.arrays["generator.img_64"]
    flat = torch.zeros(int(np.prod(images.shape)))
    step = -(-len(flat) // len(kept))
    flat[::step] = torch.from_numpy(kept)
    flat[1] = float(np.sqrt(images.norm**2 - float((kept.astype(np.float64) ** 2).sum())))  # the norm of the whole
    right = flat.reshape(images.shape)
    published.check("generator.img_64", right, lambda largest: 1e-4 * largest)
    wrong = flat.clone()
    if change == "an element that is kept":
        wrong[step] += 1
    elif change == "an element that is not kept":
        wrong[2] += 10 * images.norm
    shape = images.shape[::-1] if change == "the shape" else images.shape
    with pytest.raises(AssertionError):
        published.check("generator.img_64", wrong.reshape(shape), lambda largest: 1e-4 * largest)
