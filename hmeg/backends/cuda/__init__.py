"""Adapter to the CUDA kernels in kernels/cuda: allocates outputs and passes addresses, sizes and the stream.

One module per operator.
"""

from __future__ import annotations

import torch

from ..base import Backend
from .attention_readout import AttentionReadout
from .box_layout import BoxLayout
from .box_soft_mask import BoxSoftMask
from .compose_layout import ComposeLayout
from .crop_boxes import CropBoxes
from .device import Device, NativeDevice
from .normal_noise import NormalNoise
from .refine_layout import RefineLayout
from .refine_masks import RefineMasks
from .triple_message import TripleMessage


class CudaBackend(
    AttentionReadout, BoxLayout, BoxSoftMask, ComposeLayout, CropBoxes, NormalNoise, RefineLayout, RefineMasks,
    TripleMessage, Backend,
):  # fmt: skip
    """Runs kernels/cuda; float32, float64, float16 and bfloat16, sums in float32 (float64 for float64)."""

    dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

    def __init__(self, name: str, device: Device) -> None:
        self.name = name
        self._device = device
        self.device_types = (device.device_type,)

    @classmethod
    def native(cls) -> CudaBackend:
        """The backend ``cuda``."""
        return cls("cuda", NativeDevice())

    def unavailable(self) -> str | None:
        return self._device.unavailable()

    def details(self) -> str:
        return self._device.details()
