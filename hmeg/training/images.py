"""Where training images wait: in the device's memory, or on disk until a step asks for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset

_ROOM = 4  # images are kept on a GPU when its free memory is this many times as large


class TrainingImages:
    """The images of a data set.

    keep  ``device``: all of them in the device's memory, as bytes; ``disk``: read when asked for; ``auto``: on a GPU
          with room for them
    """

    def __init__(self, dataset: CrohmeDataset, device: str, keep: str) -> None:
        self.dataset, self.device = dataset, device
        if keep == "auto":
            size = len(dataset) * dataset.size**2
            on_gpu = device.startswith("cuda")
            keep = "device" if on_gpu and _ROOM * size <= torch.cuda.mem_get_info(device)[0] else "disk"
        self.kept = self._read(np.arange(len(dataset))).to(device) if keep == "device" else None

    def prepare(self, rows: np.ndarray) -> Tensor:
        """What :meth:`take` wants, on the CPU: the images (N, H, W) uint8, or only their rows (N,) if they are kept."""
        return self._read(rows) if self.kept is None else torch.from_numpy(rows)

    def take(self, prepared: Tensor, channels: int) -> Tensor:
        """Images (N, channels, H, W) float32 in [0, 1], channels last, on the device that ``prepared`` is on."""
        pixels = prepared if self.kept is None else self.kept[prepared]
        images = pixels[:, None].float().div_(255).expand(-1, channels, -1, -1)
        return images.contiguous(memory_format=torch.channels_last)

    def _read(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.stack([self.dataset.image(int(row)) for row in rows]))
