"""The CUDA kernels in kernels/cuda."""

from __future__ import annotations

import torch

from ..native.attention_readout import AttentionReadout
from ..native.box_layout import BoxLayout
from ..native.box_soft_mask import BoxSoftMask
from ..native.compose_layout import ComposeLayout
from ..native.crop_boxes import CropBoxes
from ..native.device import Device, Gpu
from ..native.normal_noise import NormalNoise
from ..native.refine_layout import RefineLayout
from ..native.refine_masks import RefineMasks
from .triple_message import TripleMessage


class CudaBackend(
    AttentionReadout, BoxLayout, BoxSoftMask, ComposeLayout, CropBoxes, NormalNoise, RefineLayout, RefineMasks,
    TripleMessage,
):  # fmt: skip
    """Runs kernels/cuda; float32, float64, float16 and bfloat16, sums in float32 (float64 for float64)."""

    dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

    def __init__(self, name: str, device: Device) -> None:
        super().__init__(device)
        self.name = name

    @classmethod
    def native(cls) -> CudaBackend:
        """The backend ``cuda``."""
        return cls("cuda", Gpu())
