"""Adapter to the Triton kernels (kernels/triton in the repository, here as the package kernels).

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
from .normal_noise import NormalNoise
from .refine_layout import RefineLayout
from .refine_masks import RefineMasks
from .triple_message import TripleMessage


class TritonBackend(
    AttentionReadout, BoxLayout, BoxSoftMask, ComposeLayout, CropBoxes, NormalNoise, RefineLayout, RefineMasks,
    TripleMessage, Backend,
):  # fmt: skip
    """Runs kernels/triton on CUDA tensors; under TRITON_INTERPRET=1 in Triton's interpreter, on CPU tensors too."""

    name = "triton"
    dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

    @property
    def device_types(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("cuda", "cpu") if self._interpreted() else ("cuda",)

    def unavailable(self) -> str | None:
        if self._missing:
            return self._missing
        if not self._interpreted() and not torch.cuda.is_available():
            return "torch sees no CUDA device (TRITON_INTERPRET=1 would interpret the kernels)"
        return None

    def details(self) -> str:
        where = "interpreted" if self._interpreted() else torch.cuda.get_device_name()
        return f"Triton {self._kernels('runtime').version()}, {where}"

    def _interpreted(self) -> bool:
        interpreted: bool = self._kernels("runtime").interpreted()
        return interpreted
