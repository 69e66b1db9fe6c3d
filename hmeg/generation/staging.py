"""Results on their way from a device to the host, beside what the device computes next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

Arrival = Callable[[], np.ndarray]


class Staging(Protocol):
    """Where results of a device go."""

    def fetch(self, tensor: Tensor) -> Arrival:
        """Starts to copy; what is returned waits for the copy and gives it."""


class HostStaging:
    """Results that are on the host already, or have to wait."""

    def fetch(self, tensor: Tensor) -> Arrival:
        return tensor.cpu().numpy


class PinnedStaging:
    """Copies to pinned memory on a stream of its own, so that the device's next computation does not wait."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def fetch(self, tensor: Tensor) -> Arrival:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        done = torch.cuda.Event()
        with torch.cuda.stream(self._stream):
            host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            host.copy_(tensor, non_blocking=True)
            tensor.record_stream(self._stream)  # its memory must not be given to others before the copy is done
            done.record(self._stream)

        def arrived() -> np.ndarray:
            done.synchronize()
            return host.numpy()

        return arrived
