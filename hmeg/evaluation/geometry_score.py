"""Geometry score (Khrulkov and Oseledets, ICML 2018): do two sets of points have the same holes?

Of a set, some points are landmarks, all are witnesses. The witness complex grows with a radius; while it grows, loops
appear and are filled. How long, relatively, there were exactly i loops (relative living times) is averaged over many
choices of landmarks. The score is the squared difference of these averages. The complexes are GUDHI's.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from hmeg.streams import Purpose, stream

LANDMARKS = 64
MOST_LOOPS = 100
_NEEDED = 4  # a triangle's witness compares three landmarks with the fourth nearest


def default_gamma(points: int) -> float:
    """The largest radius as a share of the landmarks' diameter: 1/128 at 5000 points, as in the authors' code."""
    return points / (128 * 5000)


def relative_living_times(intervals: np.ndarray, largest: float, most: int = MOST_LOOPS) -> np.ndarray:
    """(most,): entry i is the share of [0, largest] during which exactly i of the ``intervals`` (K, 2) are alive.

    Intervals that never end end at ``largest``. The shares add up to 1 unless more than ``most`` - 1 loops live.
    """
    clipped = np.clip(intervals.reshape(-1, 2), 0, largest)
    events = np.concatenate([clipped[:, 0], clipped[:, 1]])
    change = np.concatenate([np.ones(len(clipped)), -np.ones(len(clipped))])
    order = np.argsort(events, kind="stable")
    times = np.concatenate([[0.0], events[order], [largest]])
    alive = np.concatenate([[0], np.cumsum(change[order])]).astype(int)
    shares = np.zeros(max(most, alive.max() + 1))
    np.add.at(shares, alive, np.diff(times))
    shares /= largest
    return shares[:most]


def _loops(points: np.ndarray, landmarks: np.ndarray, gamma: float) -> tuple[np.ndarray, float]:
    """Lifetimes (K, 2) of loops in the witness complex, and the largest radius."""
    from gudhi import WitnessComplex

    largest = float(cdist(landmarks, landmarks).max()) * gamma
    distances = cdist(points, landmarks)
    order = np.argsort(distances, axis=1)
    sorted_distances = np.take_along_axis(distances, order, axis=1)
    # Landmarks beyond this witness no simplex of two dimensions or fewer: leaving them out changes nothing.
    reach = sorted_distances[:, _NEEDED - 1] + largest
    counts = np.maximum((sorted_distances <= reach[:, None]).sum(axis=1), _NEEDED)
    table = [
        [(int(landmark), float(distance)) for landmark, distance in zip(row[:count], far[:count], strict=True)]
        for row, far, count in zip(order, sorted_distances, counts, strict=True)
    ]
    tree = WitnessComplex(nearest_landmark_table=table).create_simplex_tree(
        max_alpha_square=largest, limit_dimension=2
    )  # the table's numbers are distances, not squares, and so is this bound
    tree.compute_persistence(homology_coeff_field=2)
    return np.asarray(tree.persistence_intervals_in_dimension(1)), largest


def mean_relative_living_times(
    points: np.ndarray,
    trials: int,
    gamma: float | None = None,
    landmarks: int = LANDMARKS,
    seed: int = 0,
) -> np.ndarray:
    """(100,): for how long, relatively, there were i loops, averaged over ``trials`` choices of landmarks.

    points  (N, D) float; more than ``landmarks``, else ``ValueError``
    gamma   largest radius as a share of the landmarks' diameter; None: :func:`default_gamma`
    """
    if len(points) <= landmarks:
        raise ValueError(f"{landmarks} landmarks need more points than that, got {len(points)}")
    gamma = default_gamma(len(points)) if gamma is None else gamma
    total = np.zeros(MOST_LOOPS)
    for trial in range(trials):
        chosen = stream(seed, trial, Purpose.EVALUATION).choice(len(points), landmarks, replace=False)
        intervals, largest = _loops(points, points[chosen], gamma)
        total += relative_living_times(intervals, largest) if largest else np.eye(1, MOST_LOOPS)[0]
    return total / trials


def geometry_score(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of squared differences of two sets' :func:`mean_relative_living_times`; 0: the same holes, at most 2."""
    return float(np.square(a - b).sum())
