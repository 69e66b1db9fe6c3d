"""The network as evaluation runs it: batch normalisation is part of the convolutions, channels lie together."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .counting import CountingModule
from .encoder import Bottleneck, Transition
from .model import CAN


def for_inference(model: CAN) -> CAN:
    """A copy that computes the same from images, up to rounding, with fewer passes over memory; not for training.

    The decoder is shared with ``model``.
    """
    decoder, model.decoder = model.decoder, nn.Identity()  # type: ignore[assignment]  # not copied
    try:
        network = copy.deepcopy(model).eval().requires_grad_(False)
    finally:
        model.decoder = decoder
    for part in list(network.modules()):
        pairs: list[tuple[nn.Module, str, str]] = []
        if isinstance(part, (Bottleneck, Transition)):
            pairs.append((part, "conv1", "bn1"))
        if isinstance(part, Bottleneck):
            pairs.append((part, "conv2", "bn2"))
        if isinstance(part, CountingModule):
            pairs.append((part.trans_layer, "0", "1"))
        for owner, convolution, normalisation in pairs:
            conv, norm = getattr(owner, convolution), getattr(owner, normalisation)
            setattr(owner, convolution, fuse_conv_bn_eval(conv, norm))
            setattr(owner, normalisation, nn.Identity())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it alone
    network.decoder = decoder
    return network
