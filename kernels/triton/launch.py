"""Launchers of all operators, and what Triton this is."""

from __future__ import annotations

import triton

from .box_soft_mask import box_soft_mask_backward, box_soft_mask_forward
from .compose_layout import compose_layout_backward, compose_layout_forward
from .runtime import interpreted


def version() -> str:
    """Triton's version."""
    return str(triton.__version__)


__all__ = [
    "box_soft_mask_backward",
    "box_soft_mask_forward",
    "compose_layout_backward",
    "compose_layout_forward",
    "interpreted",
    "version",
]
