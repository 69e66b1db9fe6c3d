"""How much arithmetic a configuration asks for."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from .config import ModelConfig
from .image_model import ImageModel


def multiply_adds(config: ModelConfig) -> dict[str, int]:
    """Multiply-adds of one image: ``upsampler`` (layout 64 -> 256) and ``decoder``. Computes and allocates nothing."""
    with torch.device("meta"):
        model = ImageModel(config).eval()
        low = torch.empty(1, config.image.gconv_dim, config.image.mask_size, config.image.mask_size)
        channels = config.layout_channels + config.image.noise_dim
        layout = torch.empty(1, channels, config.image.size, config.image.size)
        counts = {}
        with torch.no_grad():
            with FlopCounterMode(display=False) as counter:
                model.upsampler(low)
            counts["upsampler"] = counter.get_total_flops() // 2
            with FlopCounterMode(display=False) as counter:
                model.decoder(layout)
            counts["decoder"] = counter.get_total_flops() // 2
    return counts
