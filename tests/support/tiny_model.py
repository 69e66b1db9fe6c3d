"""A whole pipeline small enough for tests: random weights, images of 64 x 64."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from hmeg.model import HMEG, ModelConfig
from hmeg.model.checkpoint import save_weights

TINY = ModelConfig(
    name="tiny",
    image_size=64,
    mask_size=16,
    image_channels=1,
    embedding_dim=8,
    gconv_dim=8,
    gconv_hidden_dim=16,
    gconv_num_layers=2,
    refinement_dims=(8, 8, 8),
    layout_noise_dim=2,
    mask_hidden_dim=4,
    layout_embedding_dim=8,
    layout_hidden_dim=16,
    layout_num_layers=2,
    box_noise_dim=4,
)

# With everything that `small` adds to the published model.
EXTENDED = dataclasses.replace(
    TINY, box_coordinates=True, symbol_channels=3, glyph_channels=2, glyph_modes=4, layout_prior=True, image_channels=3
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
