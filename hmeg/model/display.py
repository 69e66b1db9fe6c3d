"""From what a model computes to what people see: pixels of 0..255 and boxes in pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """(C, H, W) float32 -> (C, size, size), anti-aliased by a filter without negative lobes (no halos around ink)."""
    if image.shape[1:] == (size, size):
        return image
    channels = [Image.fromarray(channel).resize((size, size), Image.Resampling.HAMMING) for channel in image]
    return np.stack([np.asarray(channel) for channel in channels])


def to_pixels(image: np.ndarray) -> np.ndarray:
    """(C, H, W) float, C 1 or 3 -> (H, W) or (H, W, 3) uint8, rescaled from the image's own minimum and maximum.

    Networks are trained towards paper at 1; what overshoots it beside a stroke is paper too, so 1 is the brightest
    maximum. An image of one value all over becomes white. ``ValueError`` when a value is not finite.
    """
    if not np.isfinite(image).all():
        raise ValueError("the image has values that are not finite")
    image = np.minimum(image, np.float32(1))
    low, high = float(image.min()), float(image.max())
    scaled = np.ones_like(image) if high == low else (image - np.float32(low)) / np.float32(high - low)
    pixels = np.rint(scaled * np.float32(255)).astype(np.uint8)
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def upright(boxes: np.ndarray) -> np.ndarray:
    """(V, 4) boxes with x0 <= x1 and y0 <= y1: an inverted box covers the same area."""
    first, second = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)
