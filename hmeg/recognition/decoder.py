"""CAN's decoder: a recurrent network that looks at the features position by position, and remembers where it looked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import CanConfig
from .counting import masked_mean

_TEMPERATURE = 10_000.0


class CoverageAttention(nn.Module):
    """Weights of attention to positions, given where attention has been so far.

    As published, a linear map of a convolution of the summed maps is added to the keys. Both are linear: here they are
    one convolution (:meth:`coverage_weight`), made once for all steps.
    """

    kernel = 11

    def __init__(self, config: CanConfig) -> None:
        super().__init__()
        self.hidden_weight = nn.Linear(config.hidden, config.attention)
        self.attention_conv = nn.Conv2d(1, config.attention, self.kernel, padding=self.kernel // 2, bias=False)
        self.attention_weight = nn.Linear(config.attention, config.attention, bias=False)
        self.alpha_convert = nn.Linear(config.attention, 1)

    def coverage_weight(self) -> Tensor:
        """(attention, 121): what the summed maps around a position add to its key."""
        return self.attention_weight.weight @ self.attention_conv.weight.flatten(1)


@dataclass
class DecoderState:
    """What decoding knows between two steps, for N images with L = h x w positions.

    features  (N, C, L) of the encoder · keys (N, A, L) · outside (N, L), True where an image is not
    counts    (N, hidden): what the predicted counts add to the last layer
    coverage  (A, 121), see CoverageAttention
    hidden    (N, hidden), the recurrent state · seen (N, h, w), the sum of the attention maps
    attention (N, h, w), the last map
    """

    features: Tensor
    keys: Tensor
    outside: Tensor
    counts: Tensor
    coverage: Tensor
    hidden: Tensor
    seen: Tensor
    attention: Tensor

    def rows(self, kept: Tensor) -> DecoderState:
        """The state of some of the images, by row."""
        values = {name: value[kept] for name, value in vars(self).items() if name != "coverage"}
        return DecoderState(coverage=self.coverage, **values)


class Decoder(nn.Module):
    """Scores of the next token, step by step: :meth:`begin`, then :meth:`step` for each token."""

    def __init__(self, config: CanConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.init_weight = nn.Linear(config.features, hidden)
        self.embedding = nn.Embedding(config.words, hidden)
        self.word_input_gru = nn.GRUCell(hidden, hidden)
        self.encoder_feature_conv = nn.Conv2d(config.features, config.attention, 1)
        self.word_attention = CoverageAttention(config)
        self.word_state_weight = nn.Linear(hidden, hidden)
        self.word_embedding_weight = nn.Linear(hidden, hidden)
        self.word_context_weight = nn.Linear(config.features, hidden)
        self.counting_context_weight = nn.Linear(config.words, hidden)
        self.word_convert = nn.Linear(hidden, config.words)
        self.dropout = nn.Dropout(config.dropout)

    def begin(self, features: Tensor, mask: Tensor, counts: Tensor) -> DecoderState:
        """features (N, C, h, w), mask (N, 1, h, w) of 0 and 1, counts (N, words) -> the state before any token."""
        mask = mask.to(features.dtype)
        keys = self.encoder_feature_conv(features)
        keys = keys + position_code(mask[:, 0], keys.shape[1]).to(keys.dtype)
        nowhere = torch.zeros_like(mask[:, 0])
        return DecoderState(
            features=features.flatten(2),
            keys=keys.flatten(2),
            outside=mask.flatten(1) == 0,
            counts=self.counting_context_weight(counts),
            coverage=self.word_attention.coverage_weight(),
            hidden=torch.tanh(self.init_weight(masked_mean(features, mask))),
            seen=nowhere,
            attention=nowhere,
        )

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The last tokens (N,) -> scores of the next ones (N, words), and the state after it."""
        embedded = self.embedding(tokens)
        hidden = self.word_input_gru(embedded, state.hidden)
        attention = self._attend(hidden, state)
        context = torch.bmm(state.features, attention[:, :, None].to(state.features.dtype))[:, :, 0]
        found = (
            self.word_state_weight(hidden)
            + self.word_embedding_weight(embedded)
            + self.word_context_weight(context)
            + state.counts
        )
        attention = attention.view_as(state.seen)
        after = DecoderState(
            state.features, state.keys, state.outside, state.counts, state.coverage,
            hidden, state.seen + attention, attention,
        )  # fmt: skip
        return self.word_convert(self.dropout(found)), after

    def _attend(self, hidden: Tensor, state: DecoderState) -> Tensor:
        """(N, L), each row summing to 1.

        The published code subtracts the batch's largest energy before the exponential and adds 1e-10 to the sum of a
        row; neither is more than rounding, so this is a softmax over each image's own positions.
        """
        weights = self.word_attention
        around = F.unfold(state.seen[:, None], weights.kernel, padding=weights.kernel // 2)
        energy = torch.matmul(state.coverage, around.to(state.coverage.dtype))
        energy = energy + state.keys + weights.hidden_weight(hidden)[:, :, None]
        energy = torch.matmul(weights.alpha_convert.weight, torch.tanh(energy))[:, 0]  # its bias is the same everywhere
        energy = energy.to(torch.promote_types(energy.dtype, torch.float32))
        return energy.masked_fill(state.outside, -math.inf).softmax(dim=1)


def position_code(mask: Tensor, channels: int) -> Tensor:
    """Where a position is in its image, as sines and cosines: mask (N, h, w) -> (N, channels, h, w), rows first."""
    half = channels // 2
    index = torch.arange(half, device=mask.device)
    frequency = _TEMPERATURE ** (-2 * (index // 2).double() / half)
    codes = []
    for axis in (1, 2):
        place = mask.float().cumsum(axis)
        last = place.narrow(axis, place.shape[axis] - 1, 1)
        angle = (place / (last + 1e-6) * 2 * math.pi)[..., None] * frequency.to(place.dtype)
        codes.append(torch.where(index % 2 == 0, angle.sin(), angle.cos()))
    return torch.cat(codes, dim=3).permute(0, 3, 1, 2)
