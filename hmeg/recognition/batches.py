"""Images of about the same size put together, filled up with paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_HEIGHT_CLASS = 32  # pixels
WINDOW = 32  # batches whose images are sorted by size before they are cut into batches


@dataclass
class ImageBatch:
    """Images (N, 1, H, W) uint8, 0 is paper and filling; sizes (N, 2) int64, height and width of each."""

    pixels: Tensor
    sizes: Tensor
    filled: bool  # whether some image is smaller than the batch

    def images(self) -> Tensor:
        """(N, 1, H, W) float32, 1 is ink."""
        return self.pixels.float().div_(255)

    def mask(self) -> Tensor:
        """(N, 1, H, W) float32, 1 where an image is."""
        height, width = self.pixels.shape[2:]
        rows = torch.arange(height, device=self.sizes.device) < self.sizes[:, :1]
        columns = torch.arange(width, device=self.sizes.device) < self.sizes[:, 1:]
        return (rows[:, :, None] & columns[:, None, :])[:, None].float()


def stack_images(inks: Sequence[np.ndarray]) -> ImageBatch:
    """Prepared images (H, W) uint8 of any sizes as one batch."""
    sizes = np.array([ink.shape for ink in inks], dtype=np.int64)
    height, width = sizes.max(axis=0)
    pixels = np.zeros((len(inks), 1, height, width), np.uint8)
    for row, ink in enumerate(inks):
        pixels[row, 0, : ink.shape[0], : ink.shape[1]] = ink
    filled = bool((sizes != sizes[0]).any())
    return ImageBatch(torch.from_numpy(pixels), torch.from_numpy(sizes), filled)


def by_size(sizes: Sequence[tuple[int, ...]], batch_size: int, most_filled: float | None = None) -> list[np.ndarray]:
    """Rows cut into batches of images of about the same size: of heights in one class, and of similar widths.

    most_filled  largest area of a batch relative to its images' own: smaller batches where sizes are too different.
                 None: all batches but the last are full
    """
    width, height = np.array([size[1] for size in sizes]), np.array([size[0] for size in sizes])
    order = np.lexsort((height, width, -(-height // _HEIGHT_CLASS)))
    if most_filled is None:
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    batches: list[list[int]] = []
    largest, area = np.zeros(2), 0
    for row in order:
        size, own = np.array((height[row], width[row])), height[row] * width[row]
        together = np.maximum(largest, size)
        count = len(batches[-1]) if batches else batch_size
        if count == batch_size or (count + 1) * together.prod() > most_filled * (area + own):
            batches.append([])
            together, area = size, 0
        batches[-1].append(int(row))
        largest, area = together, area + own
    return [np.array(batch) for batch in batches]


def stack_tokens(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids, each row ended by eos -> (N, T) int64 filled up with eos, and the mask (N, T) float32 of what was there."""
    longest = max(len(row) for row in rows)
    tokens = torch.zeros(len(rows), longest, dtype=torch.int64)
    mask = torch.zeros(len(rows), longest)
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = 1
    return tokens, mask
