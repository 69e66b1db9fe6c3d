"""The one table of tolerances: (operator, dtype, quantity) -> largest |difference| from the float64 reference allowed,
as a share of max(1, largest |reference|). Quantities: ``output``, and ``gradient`` for all gradients of the operator.

float16 and bfloat16 are rounded once, when a result is stored: half a unit in the last place is 2^-11 and 2^-8 of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

_F64, _F32, _F16, _BF16 = torch.float64, torch.float32, torch.float16, torch.bfloat16

TOLERANCES: dict[tuple[str, torch.dtype, str], float] = {
    ("box_soft_mask", _F64, "output"): 1e-13,
    ("box_soft_mask", _F64, "gradient"): 1e-12,
    ("box_soft_mask", _F32, "output"): 2e-5,
    ("box_soft_mask", _F32, "gradient"): 2e-5,
    ("box_soft_mask", _F16, "output"): 6e-4,
    ("box_soft_mask", _F16, "gradient"): 2e-3,
    ("box_soft_mask", _BF16, "output"): 4e-3,
    ("box_soft_mask", _BF16, "gradient"): 1e-2,
    ("refine_masks", _F64, "output"): 1e-13,
    ("refine_masks", _F64, "gradient"): 1e-12,
    ("refine_masks", _F32, "output"): 1e-5,
    ("refine_masks", _F32, "gradient"): 1e-4,
    ("refine_masks", _F16, "output"): 6e-4,
    # The backward pass reads the masks as they were stored: of m (1 - m), about 0.1, it knows no more than the rounding
    # of m, half a unit in the last place of 1, leaves; the statistics are rounded as well.
    ("refine_masks", _F16, "gradient"): 5e-3,
    ("refine_masks", _BF16, "output"): 4e-3,
    ("refine_masks", _BF16, "gradient"): 4e-2,
    ("compose_layout", _F64, "output"): 1e-13,
    ("compose_layout", _F64, "gradient"): 1e-13,
    ("compose_layout", _F32, "output"): 1e-6,
    ("compose_layout", _F32, "gradient"): 1e-5,
    ("compose_layout", _F16, "output"): 6e-4,
    ("compose_layout", _F16, "gradient"): 6e-4,
    ("compose_layout", _BF16, "output"): 4e-3,
    ("compose_layout", _BF16, "gradient"): 4e-3,
    ("box_layout", _F64, "output"): 1e-13,
    ("box_layout", _F64, "gradient"): 1e-12,
    ("box_layout", _F32, "output"): 2e-5,
    ("box_layout", _F32, "gradient"): 2e-5,
    ("box_layout", _F16, "output"): 6e-4,
    ("box_layout", _F16, "gradient"): 6e-4,
    ("box_layout", _BF16, "output"): 4e-3,
    ("box_layout", _BF16, "gradient"): 4e-3,
    # Sums of masks times features: refine_masks' own error, times the features' sum, and compose_layout's.
    ("refine_layout", _F64, "output"): 1e-13,
    ("refine_layout", _F64, "gradient"): 1e-12,
    ("refine_layout", _F32, "output"): 1e-5,
    ("refine_layout", _F32, "gradient"): 1e-4,
    ("refine_layout", _F16, "output"): 6e-4,
    ("refine_layout", _BF16, "output"): 4e-3,
    ("triple_message", _F64, "output"): 1e-13,
    ("triple_message", _F64, "gradient"): 1e-13,
    ("triple_message", _F32, "output"): 1e-5,
    ("triple_message", _F32, "gradient"): 1e-5,
    # Five numbers are rounded one after another on the way to an output (node and edge products, the hidden layers,
    # W2's output, the pooled sum), about twice as many to a gradient, each by up to 2^-11 or 2^-8 of its size.
    ("triple_message", _F16, "output"): 2.5e-3,
    ("triple_message", _F16, "gradient"): 5e-3,
    ("triple_message", _BF16, "output"): 2e-2,
    ("triple_message", _BF16, "gradient"): 4e-2,
    ("attention_readout", _F64, "output"): 1e-13,
    ("attention_readout", _F64, "gradient"): 1e-12,
    ("attention_readout", _F32, "output"): 1e-5,
    ("attention_readout", _F32, "gradient"): 1e-5,
    # Rounded once; Triton's interpreter cuts bfloat16 off, which is a whole unit.
    ("attention_readout", _F16, "output"): 6e-4,
    ("attention_readout", _F16, "gradient"): 6e-4,
    ("attention_readout", _BF16, "output"): 8e-3,
    ("attention_readout", _BF16, "gradient"): 8e-3,
    ("crop_boxes", _F64, "output"): 1e-13,
    ("crop_boxes", _F64, "gradient"): 1e-12,
    ("crop_boxes", _F32, "output"): 1e-5,
    ("crop_boxes", _F32, "gradient"): 1e-4,
    ("crop_boxes", _F16, "output"): 6e-4,
    ("crop_boxes", _F16, "gradient"): 6e-4,
    ("crop_boxes", _BF16, "output"): 4e-3,
    ("crop_boxes", _BF16, "gradient"): 4e-3,
}


def decide(operator: str, output: Mapping[str, float], gradient: Mapping[str, float] | None = None) -> None:
    """Enters an operator in the table, by the names of types; gradients as outputs unless said otherwise."""
    for quantity, shares in (("output", output), ("gradient", gradient or output)):
        for dtype, share in shares.items():
            TOLERANCES[operator, getattr(torch, dtype), quantity] = share


def tolerance(operator: str, dtype: torch.dtype, quantity: str) -> float:
    """Entry of the table; KeyError where somebody has to decide on one first."""
    return TOLERANCES[operator, dtype, quantity]
