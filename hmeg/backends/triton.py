"""Adapter to the Triton kernels (package hmeg_kernels, kernels/triton in the repository)."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cached_property
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from .base import Backend


def _import_kernels() -> ModuleType:
    """hmeg_kernels as installed, or from the repository around this file when run from a bare checkout."""
    if importlib.util.find_spec("hmeg_kernels") is not None:
        return importlib.import_module("hmeg_kernels")
    source = Path(__file__).parents[2] / "kernels" / "triton" / "__init__.py"
    if not source.exists():
        raise ImportError("the package hmeg_kernels is not installed")
    where = [str(source.parent)]
    spec = importlib.util.spec_from_file_location("hmeg_kernels", source, submodule_search_locations=where)
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["hmeg_kernels"] = package
    spec.loader.exec_module(package)
    return package


class TritonBackend(Backend):
    """Runs kernels/triton on CUDA tensors; under TRITON_INTERPRET=1 in Triton's interpreter, on CPU tensors too."""

    name = "triton"
    dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

    @cached_property
    def _kernels(self) -> ModuleType | str:
        # Triton is imported when first needed: it is slow to import and many installations have none.
        if importlib.util.find_spec("triton") is None:
            return "Triton is not installed"
        try:
            _import_kernels()
            return importlib.import_module("hmeg_kernels.launch")
        except ImportError as error:
            return f"the Triton kernels cannot be imported ({error})"

    @property
    def _launch(self) -> ModuleType:
        assert isinstance(self._kernels, ModuleType)
        return self._kernels

    @property
    def device_types(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("cuda", "cpu") if self._launch.interpreted() else ("cuda",)

    def unavailable(self) -> str | None:
        if isinstance(self._kernels, str):
            return self._kernels
        if not self._launch.interpreted() and not torch.cuda.is_available():
            return "torch sees no CUDA device (TRITON_INTERPRET=1 would interpret the kernels)"
        return None

    def details(self) -> str:
        where = "interpreted" if self._launch.interpreted() else torch.cuda.get_device_name()
        return f"Triton {self._launch.version()}, {where}"

    def box_soft_mask(self, boxes: Tensor, height: int, width: int) -> Tensor:
        boxes = boxes.contiguous()
        masks = boxes.new_empty((len(boxes), 1, height, width))
        self._launch.box_soft_mask_forward(boxes, masks)
        return masks

    def box_soft_mask_backward(self, grad_masks: Tensor, boxes: Tensor) -> Tensor:
        grad_masks, boxes = grad_masks.contiguous(), boxes.contiguous()
        grad_boxes = torch.empty_like(boxes)
        self._launch.box_soft_mask_backward(grad_masks, boxes, grad_boxes)
        return grad_boxes
