"""A whole pipeline small enough for tests: random weights, images of 64 x 64."""

from __future__ import annotations

from pathlib import Path

import torch

from hmeg.model import HMEG, ImageConfig, LayoutConfig, ModelConfig
from hmeg.model.checkpoint import save_weights

TINY = ModelConfig(
    name="tiny",
    layout=LayoutConfig(embedding_dim=8, hidden_dim=16, num_layers=2, noise_dim=4),
    image=ImageConfig(
        size=64,
        mask_size=16,
        channels=1,
        embedding_dim=8,
        gconv_dim=8,
        gconv_hidden_dim=16,
        gconv_num_layers=2,
        refinement_dims=(8, 8, 8),
        noise_dim=2,
        mask_hidden_dim=4,
    ),
)

# With everything that `small` adds to the published model.
EXTENDED = TINY.changed(
    layout={"prior": True},
    image={"box_coordinates": True, "symbol_channels": 3, "channels": 3},
    glyph={"channels": 2, "modes": 4},
)


def tiny_model(config: ModelConfig = TINY) -> HMEG:
    """Random weights, always the same ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return HMEG(config).eval()


def save_tiny(path: Path, config: ModelConfig = TINY) -> Path:
    """A weights file of :func:`tiny_model`."""
    save_weights(tiny_model(config), path, metadata={"licence": "none, random numbers"})
    return path
