"""Textbook PyTorch for every operator: the oracle of every test. Shares no code with any kernel."""

from .attention_readout import attention_readout
from .box_layout import box_layout
from .box_soft_mask import box_soft_mask
from .compose_layout import compose_layout
from .crop_boxes import crop_boxes
from .normal_noise import normal_noise
from .refine_layout import refine_layout
from .refine_masks import refine_masks
from .triple_message import triple_message

__all__ = ["attention_readout", "box_layout", "box_soft_mask", "compose_layout", "crop_boxes", "normal_noise",
           "refine_layout", "refine_masks", "triple_message"]  # fmt: skip
