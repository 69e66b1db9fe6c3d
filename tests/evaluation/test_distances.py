"""Distances between sets, with answers that are known: equal sets, shifted Gaussians, sure and unsure classifiers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hmeg.evaluation.distances import frechet_distance, inception_score, kernel_distance
from hmeg.evaluation.image_metrics import structural_similarity


def normal(count: int, dim: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, dim)))


def with_moments(points: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """The points moved and stretched so that their sample mean is ``mean`` and covariance diag(deviation^2) exactly."""
    centred = points - points.mean(dim=0)
    covariance = centred.T @ centred / (len(points) - 1)
    return centred @ torch.linalg.inv(torch.linalg.cholesky(covariance)).T * deviation + mean


def test_equal_sets() -> None:
    points = normal(200, 6, seed=0)
    assert frechet_distance(points, points) == pytest.approx(0, abs=1e-6)
    # The unbiased estimate leaves a point's kernel with itself out within a set, but not between equal sets.
    kernel = (points @ points.T / 6 + 1) ** 3
    within = float(kernel.sum() - kernel.trace()) / (200 * 199)
    mean, spread = kernel_distance(points, points)
    assert mean == pytest.approx(2 * within - 2 * float(kernel.mean()), abs=4 * spread / math.sqrt(100))
    assert abs(mean) < 0.1 < kernel_distance(points, points + 1)[0]


def test_frechet_distance_of_gaussians_is_the_closed_form() -> None:
    """With commuting covariances: |m1 - m2|^2 + sum of (s1 - s2)^2."""
    mean, deviation = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([2.0, 0.5, 3.0]).double()
    a = with_moments(normal(50, 3, 1), torch.zeros(3).double(), torch.ones(3).double())
    b = with_moments(normal(70, 3, 2), mean, deviation)
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + 0.25 + 1 + 0.25 + 4, rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-6)


def test_more_features_than_samples() -> None:
    """Zeros beside the features change nothing, nor does a rotation of the space they make."""
    a, b = normal(9, 3, 0), normal(8, 3, 1) * 2
    rotation = torch.linalg.qr(normal(40, 40, 2)).Q
    wide = [torch.cat([points, torch.zeros(len(points), 37)], dim=1) @ rotation for points in (a, b)]
    assert frechet_distance(*wide) == pytest.approx(frechet_distance(a, b), rel=1e-6)


def test_kernel_distance_is_the_unbiased_mmd() -> None:
    """Means of two constant clouds x and y: k(x, x) + k(y, y) - 2 k(x, y) with k = (x.y / D + 1)^3."""
    x, y = torch.zeros(10, 2).double(), torch.full((10, 2), 2.0).double()
    mean, spread = kernel_distance(x, y)
    assert mean == pytest.approx(1 + 5**3 - 2 * 1) and spread == pytest.approx(0)
    assert kernel_distance(normal(40, 3, 0), normal(40, 3, 1) + 1, seed=4) == kernel_distance(
        normal(40, 3, 0), normal(40, 3, 1) + 1, seed=4
    )


def test_inception_score_runs_from_1_to_the_number_of_classes() -> None:
    classes = 7
    unsure = torch.zeros(70, classes)
    assert inception_score(unsure) == (pytest.approx(1), pytest.approx(0))
    sure = 300 * torch.eye(classes).repeat(10, 1)
    assert inception_score(sure, splits=1)[0] == pytest.approx(classes)
    assert inception_score(sure[:1].repeat(70, 1))[0] == pytest.approx(1), "always the same class"
    # half of the images of class 0 for sure, half undecided between 0 and 1: p(y) = (3/4, 1/4)
    half = torch.tensor([[500.0, 0.0], [0.0, 0.0]]).repeat(20, 1)
    information = 0.5 * math.log(4 / 3) + 0.5 * (0.5 * math.log(2 / 3) + 0.5 * math.log(2))
    assert inception_score(half, splits=1)[0] == pytest.approx(math.exp(information))


def test_ssim() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 32, 32)).astype(np.uint8)
    assert structural_similarity(images, images) == pytest.approx([1, 1])
    flat = np.full((1, 32, 32), 100, dtype=np.uint8), np.full((1, 32, 32), 150, dtype=np.uint8)
    c1 = (0.01 * 255) ** 2  # of images without structure only the comparison of means is left
    wanted = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert structural_similarity(*flat) == pytest.approx([wanted], rel=1e-3)
    from skimage.metrics import structural_similarity as scikit  # another library's SSIM agrees away from the border

    a, b = images[:1], np.clip(images[:1] + random.integers(-9, 9, (1, 32, 32)), 0, 255).astype(np.uint8)
    theirs = scikit(a[0], b[0], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    assert structural_similarity(a, b)[0] == pytest.approx(theirs, abs=2e-3)


def test_too_few_or_unlike_features() -> None:
    with pytest.raises(ValueError, match="at least two images"):
        frechet_distance(normal(1, 3, 0), normal(5, 3, 0))
    with pytest.raises(ValueError, match=r"\(N, D\) and \(M, D\)"):
        kernel_distance(normal(4, 3, 0), normal(4, 2, 0))
