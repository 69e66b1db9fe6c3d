"""CAN (Li et al., "When Counting Meets HMER", ECCV 2022): the whole recogniser as one module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import CanConfig
from .counting import CountingModule
from .decoder import Decoder
from .encoder import REDUCTION, Encoder

EOS, SOS = 0, 1


@dataclass
class Encoded:
    """What the decoder reads of N images.

    features  (N, C, h, w) · mask (N, 1, h, w), 1 where an image is
    counts    (N, words), how often each token occurs: the mean of both modules' guesses in ``guesses``
    """

    features: Tensor
    mask: Tensor
    counts: Tensor
    guesses: tuple[Tensor, Tensor]


@dataclass
class Taught:
    """Result of a pass with the true tokens fed in: scores (N, T, words) of each, and what was encoded."""

    scores: Tensor
    encoded: Encoded


class CAN(nn.Module):
    """Images -> tokens, and how often each token occurs. State-dict keys are the published ones.

    Images are (N, 1, H, W) float, 1 is ink and 0 is paper; masks (N, 1, H, W) are 1 on each image and 0 where it was
    filled up (with 0, to the right and below) to the batch's size.
    """

    def __init__(self, config: CanConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.counting_decoder1 = CountingModule(config, 3)
        self.counting_decoder2 = CountingModule(config, 5)
        self.decoder = Decoder(config)

    def encode(self, images: Tensor, mask: Tensor, isolated: bool) -> Encoded:
        """Features and counts of every image.

        isolated  as if each image were alone, whatever its batch was filled up to; else as published, where features
                  near an image's edge depend on the filling
        """
        features = self.encoder(images, mask if isolated else None)
        small = mask[:, :, ::REDUCTION, ::REDUCTION].to(features.dtype)
        first = self.counting_decoder1(features, small, isolated)
        second = self.counting_decoder2(features, small, isolated)
        return Encoded(features, small, (first + second) / 2, (first, second))

    def forward(self, images: Tensor, mask: Tensor, tokens: Tensor, isolated: bool = False) -> Taught:
        """Scores of each of ``tokens`` (N, T; ended and filled up by eos), given those before it. Differentiable."""
        encoded = self.encode(images, mask, isolated)
        state = self.decoder.begin(encoded.features, encoded.mask, encoded.counts)
        fed = F.pad(tokens, (1, 0), value=SOS)
        scores = []
        for position in range(tokens.shape[1]):
            found, state = self.decoder.step(fed[:, position], state)
            scores.append(found)
        return Taught(torch.stack(scores, dim=1), encoded)


def word_loss(scores: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of scores (N, T, words) over all positions of tokens (N, T), or those where ``mask`` is 1."""
    losses = F.cross_entropy(scores.flatten(0, 1).float(), tokens.flatten(), reduction="none")
    return losses.mean() if mask is None else (losses * mask.flatten()).sum() / mask.sum()


def counting_loss(encoded: Encoded, labels: Tensor) -> Tensor:
    """Smooth L1 between counts (N, words) and labels: of both modules and of their mean, added."""
    losses = [F.smooth_l1_loss(counts, labels) for counts in (*encoded.guesses, encoded.counts)]
    return torch.stack(losses).sum()
