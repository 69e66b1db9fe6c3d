"""The geometry score of shapes whose holes everybody can count."""

from __future__ import annotations

import numpy as np
import pytest

from hmeg.evaluation import geometry_score as module
from hmeg.evaluation.geometry_score import geometry_score, mean_relative_living_times, relative_living_times

GAMMA = 1 / 128  # as in the paper's examples, whatever the number of points


def circle(count: int, seed: int) -> np.ndarray:
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def times(points: np.ndarray, trials: int = 4, gamma: float = GAMMA) -> np.ndarray:
    return mean_relative_living_times(points, trials, gamma)


def test_living_times_by_hand() -> None:
    """Loops live over [0, 2] and [1, 3] of 4: one for 2, two for 1, none for 1 of the time."""
    shares = relative_living_times(np.array([[0.0, 2.0], [1.0, 3.0]]), 4.0, most=4)
    assert shares == pytest.approx([0.25, 0.5, 0.25, 0])
    assert relative_living_times(np.zeros((0, 2)), 1.0, most=3) == pytest.approx([1, 0, 0])
    assert relative_living_times(np.array([[0.5, np.inf]]), 1.0, most=3) == pytest.approx([0.5, 0.5, 0])


def test_a_circle_has_one_hole_and_two_circles_have_two() -> None:
    one = times(circle(1500, 0))
    assert one[1] > 0.9
    two = times(np.concatenate([circle(1500, 1), circle(1500, 2) + 4]))
    assert two[2] > 0.8
    assert geometry_score(one, one) == 0
    assert geometry_score(one, times(circle(1500, 3))) < 0.02
    assert geometry_score(one, two) > 1.2


def test_a_line_has_none() -> None:
    line = np.random.default_rng(0).uniform(0, 1, (1000, 1)) * np.array([[1.0, 2.0]])
    assert times(line)[0] > 0.9
    assert geometry_score(times(line), times(circle(1500, 0))) > 1.5


def test_a_filled_disk_is_no_circle() -> None:
    radius = np.sqrt(np.random.default_rng(5).uniform(0, 1, (1500, 1)))
    disk = times(radius * circle(1500, 6), gamma=1 / 8)
    assert disk[0] > 0.5, "small loops between landmarks are soon filled"
    assert times(circle(1500, 0), gamma=1 / 8)[1] > 0.9


def test_leaving_out_far_landmarks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).standard_normal((300, 3))
    short = module._loops(points, points[:30], 0.05)
    monkeypatch.setattr(module, "_NEEDED", 30)
    long = module._loops(points, points[:30], 0.05)
    assert len(short[0]) > 3
    assert np.allclose(np.sort(short[0], axis=0), np.sort(long[0], axis=0)) and short[1] == long[1]


def test_seeds_and_too_few_points() -> None:
    points = np.random.default_rng(0).standard_normal((200, 2))
    assert np.array_equal(mean_relative_living_times(points, 2, seed=1), mean_relative_living_times(points, 2, seed=1))
    assert mean_relative_living_times(np.zeros((100, 2)), 1)[0] == 1, "points that are all the same have no holes"
    with pytest.raises(ValueError, match="64 landmarks need more points"):
        mean_relative_living_times(points[:64], 1)
