"""The operators. Each checks its arguments, picks a backend (hmeg.backends) and runs it, forward and backward."""

from hmeg.reference.weights import MaskWeights, TripleWeights

from .attention_readout import attention_readout
from .box_layout import box_layout
from .box_soft_mask import box_soft_mask
from .compose_layout import compose_layout
from .crop_boxes import crop_boxes
from .edge_structure import EdgeStructure, edge_structure
from .normal_noise import normal_noise
from .refine_layout import refine_layout
from .refine_masks import refine_masks
from .triple_message import triple_message

__all__ = [
    "EdgeStructure",
    "MaskWeights",
    "TripleWeights",
    "attention_readout",
    "box_layout",
    "box_soft_mask",
    "compose_layout",
    "crop_boxes",
    "edge_structure",
    "normal_noise",
    "refine_layout",
    "refine_masks",
    "triple_message",
]
