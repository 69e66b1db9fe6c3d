"""Parts of images, for training the convolutional decoder on where the ink is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Parts of images: the decoder is convolutional, so it can be trained on where the ink is.

    expression, top, left  (M,) int64: which expression, and the upper left corner in pixels of the soft masks
    side                   rows, in pixels of the soft masks; a multiple of what the decoder's stages halve
    is_whole               whether they are whole images, one an expression, in order
    across                 columns likewise, if there are not as many as rows
    """

    expression: Tensor
    top: Tensor
    left: Tensor
    side: int
    is_whole: bool = False
    across: int | None = None

    @classmethod
    def whole(cls, num_graphs: int, size: int | tuple[int, int], device: torch.device) -> Windows:
        """The windows that are whole images, one an expression; size: of the soft masks, or their rows and columns."""
        rows, columns = (size, size) if isinstance(size, int) else size
        zero = torch.zeros(num_graphs, dtype=torch.int64, device=device)
        return cls(torch.arange(num_graphs, device=device), zero, zero, rows, is_whole=True, across=columns)

    @property
    def columns(self) -> int:
        """Of a window, in pixels of the soft masks; as many as rows unless ``across`` says another number."""
        return self.side if self.across is None else self.across

    def cut(self, images: Tensor, scale: int) -> Tensor:
        """images (N, C, scale S, scale S), S the masks' side -> (M, C, scale side, scale columns)."""
        device = images.device
        rows = (self.top * scale)[:, None] + torch.arange(scale * self.side, device=device)
        columns = (self.left * scale)[:, None] + torch.arange(scale * self.columns, device=device)
        channels_last = images.permute(0, 2, 3, 1)
        return channels_last[self.expression[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
