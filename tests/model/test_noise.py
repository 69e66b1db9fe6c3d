"""Counter-based noise: pinned values, independence of streams and batches."""

import hashlib

import numpy as np
import pytest
import torch

from hmeg import backends
from hmeg.model.noise import box_noise, image_noise
from hmeg.streams import Purpose, stream


def test_values_never_change():
    # the same numbers from numpy 1.26 and 2.x: published samples can be drawn again
    drawn = stream(7, 3, Purpose.BOXES).standard_normal(4, dtype=np.float32)
    assert drawn.tolist() == [-1.4470674991607666, -0.9134206771850586, -0.5155606865882874, 1.8603298664093018]
    digest = hashlib.sha256(image_noise(32, 256, seed=0, indices=[0]).numpy().tobytes()).hexdigest()
    assert digest.startswith("823b52458f34337f")


def test_shapes_and_distribution():
    noise = image_noise(3, 128, seed=1, indices=[2, 9])
    assert noise.shape == (2, 3, 128, 128)
    assert noise.dtype == torch.float32
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert box_noise(5, 64, seed=1, index=2).shape == (5, 64)


def test_a_sample_has_its_noise_in_any_batch_and_on_any_backend():
    indices = [2**64 - 1, 0, 2**63, 5]
    together = image_noise(2, 16, 3, indices)
    for row, index in zip(together, indices, strict=True):
        assert torch.equal(image_noise(2, 16, 3, [index])[0], row)
    with backends.using("reference"):
        assert torch.equal(image_noise(2, 16, 3, indices), together)
    assert image_noise(2, 16, 3, []).shape == (0, 2, 16, 16)


def test_streams_differ_in_seed_index_and_purpose():
    keys = [(0, 0), (0, 1), (1, 0), (2**64 - 1, 0), (0, 2**64 - 1)]
    first = {tuple(stream(*key, purpose).integers(0, 2**63, 2)) for key in keys for purpose in Purpose}
    assert len(first) == len(keys) * len(Purpose)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1), (2**64, 0), (0, 2**64)])
def test_out_of_range(seed, index):
    with pytest.raises(ValueError, match=r"must be in \[0, 2\*\*64\)"):
        stream(seed, index, Purpose.BOXES)
    with pytest.raises(ValueError, match=r"(seed|index) must be "):
        image_noise(2, 16, seed, [index])
