"""Greedy decoding of many images at once."""

from __future__ import annotations

import torch
from torch import Tensor

from .decoder import Decoder, DecoderState
from .model import EOS, SOS, Encoded

LONGEST = 200  # steps, as published
_LOOK_EVERY = 8  # steps on a GPU between looks at which images are done: a look waits for the device
_WORTH_DROPPING = 0.8  # of the rows still at work: below this the finished ones are dropped


def greedy(decoder: Decoder, encoded: Encoded, longest: int = LONGEST) -> list[list[int]]:
    """The likeliest next token again and again, until eos (which is not kept) or ``longest`` tokens; ids of each image.

    Images do not influence each other; those that are done are dropped from the batch.
    """
    state: DecoderState = decoder.begin(encoded.features, encoded.mask, encoded.counts)
    count, device = len(encoded.features), encoded.features.device
    found = torch.zeros(count, longest, dtype=torch.int64, device=device)
    rows = torch.arange(count, device=device)
    token = torch.full((count,), SOS, device=device)
    done = torch.zeros(count, dtype=torch.bool, device=device)
    every = _LOOK_EVERY if device.type == "cuda" else 1
    for step in range(longest):
        scores, state = decoder.step(token, state)
        token = scores.argmax(dim=1).masked_fill(done, EOS)
        found[rows, step] = token
        done |= token == EOS
        if step % every == every - 1:
            left = int((~done).sum())
            if left == 0:
                break
            if left < _WORTH_DROPPING * len(rows):
                kept: Tensor = (~done).nonzero()[:, 0]
                rows, token, done, state = rows[kept], token[kept], done[kept], state.rows(kept)
    return [_until_eos(ids) for ids in found.tolist()]


def _until_eos(ids: list[int]) -> list[int]:
    return ids[: ids.index(EOS)] if EOS in ids else ids
