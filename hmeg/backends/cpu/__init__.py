"""The C++ kernels in csrc/cpu: float32 and float64."""

from __future__ import annotations

import torch

from ..native.attention_readout import AttentionReadout
from ..native.box_layout import BoxLayout
from ..native.box_soft_mask import BoxSoftMask
from ..native.compose_layout import ComposeLayout
from ..native.crop_boxes import CropBoxes
from ..native.device import BEST_VARIANT, Cpu
from ..native.normal_noise import NormalNoise
from ..native.refine_layout import RefineLayout
from ..native.refine_masks import RefineMasks
from .triple_message import TripleMessage


class CpuBackend(
    AttentionReadout, BoxLayout, BoxSoftMask, ComposeLayout, CropBoxes, NormalNoise, RefineLayout, RefineMasks,
    TripleMessage,
):  # fmt: skip
    """Runs on CPU tensors. ``variant`` pins one of build_info()["cpu_variants"] by position, for tests."""

    name = "cpu"
    dtypes = (torch.float32, torch.float64)

    def __init__(self, variant: int = BEST_VARIANT) -> None:
        super().__init__(Cpu(variant))
