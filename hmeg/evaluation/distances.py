"""Distances between two clouds of features, and the score of one cloud of class logits: torchmetrics' numbers."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

_SUBSETS, _LARGEST_SUBSET = 100, 1000
_SPLITS = 10


class _Given(nn.Module):
    """Features are computed already: torchmetrics is given them in the place of images."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of means and covariances of (N, D) and (M, D) features.

    The distance of the Gaussians with these moments (Dowson and Landau 1982; on Inception features: FID, Heusel et al.
    2017). At least two of each, else ``ValueError``; biased upwards for few samples.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    _check(real, generated)
    real, generated = _in_their_span(real.double(), generated.double())
    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]))
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return max(0.0, float(metric.compute()))  # rounding may leave -1e-9 between equal sets


def kernel_distance(real: Tensor, generated: Tensor, seed: int = 0) -> tuple[float, float]:
    """Mean and spread over 100 subsets of the unbiased squared MMD with the kernel (x.y / D + 1)^3.

    On Inception features: KID (Binkowski et al., ICLR 2018). Subsets have 1000 samples, or half of the smaller set
    where that is less. Unbiased: around 0, and below it too, for sets of one distribution.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    _check(real, generated)
    size = max(2, min(_LARGEST_SUBSET, min(len(real), len(generated)) // 2))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # that it keeps all features in memory
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(feature=_Given(real.shape[1]), subsets=_SUBSETS, subset_size=size)
        metric.update(real.double(), real=True)
        metric.update(generated.double(), real=False)
        mean, spread = metric.compute()
    return float(mean), float(spread)


def inception_score(logits: Tensor, seed: int = 0, splits: int = _SPLITS) -> tuple[float, float]:
    """exp of the mean KL divergence of p(y | x) from p(y), (N, K) logits: from 1 to K; mean and spread over splits.

    1: every image is classified alike, or nothing is recognised; K: all classes equally often and without doubt
    (Salimans et al. 2016). The spread is 0 for one split.
    """
    from torchmetrics.image.inception import InceptionScore

    splits = max(1, min(splits, len(logits)))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # as above; and the deviation of a single split
        torch.manual_seed(seed)
        metric = InceptionScore(feature=_Given(logits.shape[1]), splits=splits)
        metric.update(logits.double())
        mean, spread = metric.compute()
    return float(mean), 0.0 if splits == 1 else float(spread)


def _in_their_span(real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
    """Fewer samples than features: the same points, by coordinates in the space they span.

    Distances stay what they are, and eigenvalues of a small matrix take the place of those of a large one.
    """
    if len(real) + len(generated) >= real.shape[1]:
        return real, generated
    basis = torch.linalg.qr(torch.cat([real, generated]).T).Q
    return real @ basis, generated @ basis


def _check(real: Tensor, generated: Tensor) -> None:
    if real.dim() != 2 or generated.dim() != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(f"features must be (N, D) and (M, D), got {tuple(real.shape)} and {tuple(generated.shape)}")
    if min(len(real), len(generated)) < 2:
        raise ValueError("a distance between sets needs at least two images in each")
