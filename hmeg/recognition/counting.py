"""CAN's counting modules: how often each token occurs, from the encoder's features alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .config import CanConfig

_SQUEEZED = 16  # times fewer channels inside the channel attention


class ChannelAttention(nn.Module):
    """One factor a channel (N, C, 1, 1), from the channels' means (N, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // _SQUEEZED),
            nn.ReLU(),
            nn.Linear(channels // _SQUEEZED, channels),
            nn.Sigmoid(),
        )

    def forward(self, means: Tensor) -> Tensor:
        factors: Tensor = self.fc(means)
        return factors[:, :, None, None]


class CountingModule(nn.Module):
    """forward(features (N, C, h, w), mask (N, 1, h, w), isolated) -> counts (N, words), not negative.

    isolated  take the channels' means over the mask, as if each image were alone; else over everything, as published
    """

    def __init__(self, config: CanConfig, kernel: int) -> None:
        super().__init__()
        self.trans_layer = nn.Sequential(
            nn.Conv2d(config.features, config.counting, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(config.counting),
        )
        self.channel_att = ChannelAttention(config.counting)
        self.pred_layer = nn.Sequential(nn.Conv2d(config.counting, config.words, 1, bias=False), nn.Sigmoid())

    def forward(self, features: Tensor, mask: Tensor, isolated: bool = False) -> Tensor:
        x = self.trans_layer(features)
        means = masked_mean(x, mask) if isolated else x.mean(dim=(2, 3))
        density: Tensor = self.pred_layer(x * self.channel_att(means)) * mask
        # Hundreds of positions are added up: bf16 would lose the small ones.
        return density.sum(dim=(2, 3), dtype=torch.promote_types(density.dtype, torch.float32))


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Means (N, C) of x (N, C, h, w) over the positions where mask (N, 1, h, w) is 1; added up in float32 at least."""
    exact = torch.promote_types(x.dtype, torch.float32)
    return ((x * mask).sum(dim=(2, 3), dtype=exact) / mask.sum(dim=(2, 3), dtype=exact)).to(x.dtype)


def counting_labels(tokens: Tensor, words: int, uncounted: Sequence[int]) -> Tensor:
    """Occurrences (N, words) float32 of each token in ``tokens`` (N, T); the ``uncounted`` ones are 0.

    Rows are filled up with a token that is not counted (eos).
    """
    counts = torch.zeros(len(tokens), words, device=tokens.device)
    counts.scatter_add_(1, tokens, torch.ones_like(tokens, dtype=counts.dtype))
    counts[:, list(uncounted)] = 0
    return counts
