"""Sliced Wasserstein distance between the Laplacian pyramids of two sets of images (Karras et al., ICLR 2018).

Every image becomes a Laplacian pyramid; from every level come small patches; on every level the two clouds of patches
are compared by the sliced Wasserstein distance. Coarse levels tell of layout, the finest of strokes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hmeg.streams import Purpose, stream

PATCH = 7  # pixels a side
PATCHES = 128  # an image and level
DIRECTIONS = 512
MOST_IMAGES = 16384  # of a set, as published: more cost memory and change little
COARSEST = 16  # pixels a side of a pyramid's last level
_AT_ONCE = 32  # directions projected on together
_BATCH = 64  # images
_BINOMIAL = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0])


def _blurred(images: Tensor, scale: float) -> Tensor:
    kernel = torch.outer(_BINOMIAL, _BINOMIAL).to(images) * (scale / 256)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel[None, None])


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """(N, 1, S, S) -> differences of neighbouring resolutions S, S/2, ..., 32, and the image at 16.

    S is a power of two and at least 16, else ``ValueError``. Blurs are 5 x 5 binomial with mirrored borders.
    """
    side = images.shape[-1]
    if images.shape[-2] != side or side < COARSEST or side & (side - 1):
        raise ValueError(
            f"images must be square, their side a power of two from {COARSEST} on, got {images.shape[-2:]}"
        )
    levels = []
    while side > COARSEST:
        smaller = _blurred(images, 1)[:, :, ::2, ::2]
        spread = torch.zeros_like(images)
        spread[:, :, ::2, ::2] = smaller
        levels.append(images - _blurred(spread, 4))
        images, side = smaller, side // 2
    return [*levels, images]


def _patches(level: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, 1, S, S), upper left corners (N, P) -> (N * P, 49)."""
    offsets = torch.arange(PATCH)
    y = rows[:, :, None, None] + offsets[:, None]
    x = columns[:, :, None, None] + offsets
    images = torch.arange(len(level))[:, None, None, None]
    return level[images, 0, y, x].flatten(2).flatten(0, 1)


def _standardised(patches: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over all patches and pixels, as published (one grey channel)."""
    return (patches - patches.mean()) / patches.std().clamp(min=1e-12)


def sliced_distance(a: Tensor, b: Tensor, directions: Tensor) -> float:
    """Mean over ``directions`` (D, K), of unit length, of the 1-D Wasserstein-1 distance of (M, K) and (M, K) points.

    On a line, the distance of two sets of equally many points is the mean difference of the sorted ones.
    """
    if a.shape != b.shape:
        raise ValueError(f"both sets must have equally many points, got {tuple(a.shape)} and {tuple(b.shape)}")
    total = 0.0
    for some in directions.split(_AT_ONCE):
        on_a, on_b = (torch.sort(some @ points.T, dim=1).values for points in (a, b))
        total += float((on_a - on_b).abs().mean(dim=1).sum())
    return total / len(directions)


def _drawn(size: int, count: int, seed: int) -> np.ndarray:
    """Which ``count`` of ``size`` images are taken, ascending: the same ones of two sets of one size."""
    if size == count:
        return np.arange(count)
    return np.sort(stream(seed, 3, Purpose.EVALUATION).choice(size, count, replace=False))


def sliced_wasserstein(
    real: np.ndarray,
    generated: np.ndarray,
    seed: int = 0,
    patches: int = PATCHES,
) -> dict[int, float]:
    """Distance, times 1000 as published, by the side of the pyramid's level in pixels; 0 for identical sets.

    real, generated   (N, S, S) and (M, S, S) uint8; of each, min(N, M, 16384) images are taken: all where there are no
                      more, else drawn with the seed, as what comes first may be of one kind
    patches           an image and level; image i of either set is looked at in the same places
    """
    count = min(len(real), len(generated), MOST_IMAGES)
    pixels = [torch.from_numpy(images[_drawn(len(images), count, seed)]) for images in (real, generated)]
    sides = [level.shape[-1] for level in laplacian_pyramid(pixels[0][:1, None].float())]
    random = stream(seed, 0, Purpose.EVALUATION)
    corners = {side: torch.from_numpy(random.integers(0, side - PATCH + 1, (2, count, patches))) for side in sides}
    clouds: list[dict[int, list[Tensor]]] = [{side: [] for side in sides} for _ in pixels]
    for images, cloud in zip(pixels, clouds, strict=True):
        for start in range(0, count, _BATCH):
            batch = images[start : start + _BATCH, None].float() / 255
            for level in laplacian_pyramid(batch):
                rows, columns = corners[level.shape[-1]][:, start : start + len(batch)]
                cloud[level.shape[-1]].append(_patches(level, rows, columns))
    found = {}
    for side in sides:
        a, b = (_standardised(torch.cat(cloud.pop(side))) for cloud in clouds)
        directions = torch.from_numpy(random.standard_normal((DIRECTIONS, PATCH * PATCH), dtype=np.float32))
        found[side] = 1000 * sliced_distance(a, b, F.normalize(directions, dim=1))
    return found
