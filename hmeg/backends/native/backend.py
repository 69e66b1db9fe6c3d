"""What the backends cpu and cuda share: operators whose entry points take the same parameters on both."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import Backend
from .device import Device


def fresh_like(tensor: Tensor) -> Tensor:
    """A tensor of the same shape and type to be filled; contiguous, whatever the strides of the other."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


class NativeBackend(Backend):
    """Runs entry points of the native extension on a device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.device_types = (device.type,)
        self.call = device.call

    def unavailable(self) -> str | None:
        return self.device.unavailable()

    def details(self) -> str:
        return self.device.details()
