"""Adapter to the C++ kernels in csrc/cpu: float32 and float64. One module per operator."""

from __future__ import annotations

import torch

from ..base import Backend
from .attention_readout import AttentionReadout
from .box_layout import BoxLayout
from .box_soft_mask import BoxSoftMask
from .compose_layout import ComposeLayout
from .crop_boxes import CropBoxes
from .normal_noise import NormalNoise
from .refine_layout import RefineLayout
from .refine_masks import RefineMasks
from .triple_message import TripleMessage


class CpuBackend(
    AttentionReadout, BoxLayout, BoxSoftMask, ComposeLayout, CropBoxes, NormalNoise, RefineLayout, RefineMasks,
    TripleMessage, Backend,
):  # fmt: skip
    """Runs on CPU tensors. ``variant`` pins one of build_info()["cpu_variants"] by position, for tests."""

    name = "cpu"
    device_types = ("cpu",)
    dtypes = (torch.float32, torch.float64)

    def unavailable(self) -> str | None:
        return self._reason or None

    def details(self) -> str:
        assert self._extension is not None
        return f"C++, {self._extension.build_info()['cpu_variant']}"
