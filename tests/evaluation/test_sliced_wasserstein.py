"""Laplacian pyramids and the sliced Wasserstein distance, against what can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hmeg.evaluation.sliced_wasserstein import laplacian_pyramid, sliced_distance, sliced_wasserstein


def test_on_a_line_a_shift_costs_its_length() -> None:
    points = torch.tensor([[3.0], [1.0], [2.0]])
    direction = torch.ones(1, 1)
    assert sliced_distance(points, points.flip(0) + 0.25, direction) == pytest.approx(0.25)
    assert sliced_distance(points, points[[1, 2, 0]], direction) == 0, "order does not matter"
    assert sliced_distance(torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [2.0]]), direction) == pytest.approx(1.5)


def test_in_space_a_shift_costs_its_share_of_each_direction() -> None:
    points = torch.from_numpy(np.random.default_rng(0).standard_normal((50, 3)))
    shift = torch.tensor([3.0, 0.0, -4.0]).double()
    directions = F.normalize(torch.from_numpy(np.random.default_rng(1).standard_normal((70, 3))), dim=1)
    wanted = float((directions @ shift).abs().mean())
    assert sliced_distance(points, points + shift, directions) == pytest.approx(wanted)


def test_a_pyramid_adds_up_to_the_image() -> None:
    images = torch.rand(2, 1, 64, 64, dtype=torch.float64)
    levels = laplacian_pyramid(images)
    assert [level.shape[-1] for level in levels] == [64, 32, 16]
    back = levels[-1]
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]).double()
    for level in levels[-2::-1]:
        spread = torch.zeros_like(level)
        spread[:, :, ::2, ::2] = back
        blurred = F.conv2d(F.pad(spread, (2, 2, 2, 2), mode="reflect"), torch.outer(kernel, kernel)[None, None] / 64)
        back = level + blurred
    torch.testing.assert_close(back, images)


def test_a_flat_image_has_detail_nowhere() -> None:
    detail = laplacian_pyramid(torch.full((1, 1, 32, 32), 0.7, dtype=torch.float64))[0]
    torch.testing.assert_close(detail, torch.zeros_like(detail), atol=1e-12, rtol=0)


def strokes(count: int, width: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    images = np.full((count, 64, 64), 255, dtype=np.uint8)
    for image in images:
        for row in random.integers(0, 60, 3):
            image[row : row + width] = 0
    return images


def test_equal_sets_are_at_0_and_like_ones_nearer_than_unlike_ones() -> None:
    a = strokes(30, 2, seed=0)
    assert set(sliced_wasserstein(a, a, patches=8)) == {64, 32, 16}
    assert all(distance == 0 for distance in sliced_wasserstein(a, a, patches=8).values())
    like, unlike = (sliced_wasserstein(a, strokes(30, width, seed=1), patches=32) for width in (2, 8))
    assert like[64] < unlike[64] / 2
    assert sliced_wasserstein(a, strokes(30, 2, seed=1), patches=8, seed=1) != sliced_wasserstein(
        a, strokes(30, 2, seed=1), patches=8, seed=2
    )


def test_a_sorted_set_is_at_the_distance_of_its_random_parts() -> None:
    """Of the larger set as many images are taken as the smaller one has, from everywhere: not its first kind alone."""
    images = np.concatenate([strokes(100, width, seed=width) for width in (2, 8)])
    random = np.random.default_rng(3)
    one, other = (np.sort(random.permutation(len(images))[:60]) for _ in range(2))
    whole, part, first = (
        sliced_wasserstein(kept, images[other], patches=16)[64] for kept in (images, images[one], images[:60])
    )
    assert whole < 1.5 * part, "like one random part beside another"
    assert whole < 0.75 * first, "unlike the first kind alone"
    again = sliced_wasserstein(images[other], images, patches=8, seed=1)
    assert (
        again
        == sliced_wasserstein(images[other], images, patches=8, seed=1)
        != sliced_wasserstein(images[other], images, patches=8, seed=2)
    )


def test_two_sets_of_more_images_than_are_taken_are_seen_in_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hmeg.evaluation.sliced_wasserstein.MOST_IMAGES", 10)
    images = strokes(30, 2, seed=0)
    assert set(sliced_wasserstein(images, images, patches=8).values()) == {0}


def test_wrong_sizes() -> None:
    with pytest.raises(ValueError, match="power of two"):
        laplacian_pyramid(torch.zeros(1, 1, 48, 48))
    with pytest.raises(ValueError, match="equally many points"):
        sliced_distance(torch.zeros(3, 2), torch.zeros(4, 2), torch.ones(1, 2))
