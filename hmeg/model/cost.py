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
        low = torch.empty(1, config.layout_channels, config.mask_size, config.mask_size)
        noise = torch.empty(1, config.layout_noise_dim, config.image_size, config.image_size)
        counts = {}
        with torch.no_grad():
            with FlopCounterMode(display=False) as counter:
                layout = model.upsampler(low)
            counts["upsampler"] = counter.get_total_flops() // 2
            with FlopCounterMode(display=False) as counter:
                model.decoder(torch.cat([layout, noise], dim=1))
            counts["decoder"] = counter.get_total_flops() // 2
    return counts
