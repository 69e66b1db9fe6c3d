"""Launchers of all operators, and what Triton this is."""

from __future__ import annotations

import triton

from .attention_readout import attention_readout_backward, attention_readout_forward
from .box_layout import box_layout_backward, box_layout_forward
from .box_soft_mask import box_soft_mask_backward, box_soft_mask_forward
from .compose_layout import compose_layout_backward, compose_layout_forward
from .crop_boxes import crop_boxes_backward, crop_boxes_forward
from .normal_noise import normal_noise
from .refine_gradients import refine_masks_backward
from .refine_layout import refine_layout
from .refine_masks import refine_masks_forward, refine_statistics
from .runtime import interpreted
from .triple_message import (
    triple_message_collect,
    triple_message_forward,
    triple_message_grad_products,
    triple_message_hidden,
    triple_message_pieces,
)


def version() -> str:
    """Triton's version."""
    return str(triton.__version__)


__all__ = [
    "attention_readout_backward",
    "attention_readout_forward",
    "box_layout_backward",
    "box_layout_forward",
    "box_soft_mask_backward",
    "box_soft_mask_forward",
    "compose_layout_backward",
    "compose_layout_forward",
    "crop_boxes_backward",
    "crop_boxes_forward",
    "interpreted",
    "normal_noise",
    "refine_layout",
    "refine_masks_backward",
    "refine_masks_forward",
    "refine_statistics",
    "triple_message_collect",
    "triple_message_forward",
    "triple_message_grad_products",
    "triple_message_hidden",
    "triple_message_pieces",
    "version",
]
