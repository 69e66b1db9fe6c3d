"""CAN's reading of one image as published: one image, one token at a time, every step from scratch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hmeg.recognition.decoder import position_code
from hmeg.recognition.model import CAN, EOS, SOS


@torch.no_grad()
def read_one(model: CAN, image: Tensor, longest: int) -> tuple[list[int], Tensor]:
    """image (1, 1, H, W), 1 is ink -> ids of the tokens, and the counts (words,)."""
    mask = torch.ones_like(image)
    features = model.encoder(image)
    small = mask[:, :, ::16, ::16]
    counts = (model.counting_decoder1(features, small) + model.counting_decoder2(features, small)) / 2
    decoder = model.decoder
    hidden = torch.tanh(decoder.init_weight((features * small).sum(dim=(2, 3)) / small.sum(dim=(2, 3))))
    keys = decoder.encoder_feature_conv(features)
    keys = (keys + position_code(small[:, 0], keys.shape[1])).permute(0, 2, 3, 1)
    seen = torch.zeros_like(small)
    token, ids = torch.full((1,), SOS, device=image.device), []
    for _ in range(longest):
        embedded = decoder.embedding(token)
        hidden = decoder.word_input_gru(embedded, hidden)
        attention = _attend(model, hidden, keys, seen, small)
        seen = seen + attention
        context = (attention * features).sum(dim=(2, 3))
        scores = decoder.word_convert(
            decoder.word_state_weight(hidden)
            + decoder.word_embedding_weight(embedded)
            + decoder.word_context_weight(context)
            + decoder.counting_context_weight(counts)
        )
        token = scores.argmax(dim=1)
        if int(token) == EOS:
            break
        ids.append(int(token))
    return ids, counts[0]


def _attend(model: CAN, hidden: Tensor, keys: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
    """The attention map (1, 1, h, w)."""
    weights = model.decoder.word_attention
    query = weights.hidden_weight(hidden)[:, None, None]
    covered = F.conv2d(seen, weights.attention_conv.weight, padding=weights.kernel // 2)
    energy = weights.alpha_convert(torch.tanh(query + weights.attention_weight(covered.permute(0, 2, 3, 1)) + keys))
    weight = torch.exp(energy - energy.max()).permute(0, 3, 1, 2) * mask
    return weight / (weight.sum() + 1e-10)
