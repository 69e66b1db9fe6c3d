"""Pixels to bytes of an image file. Imports no torch, so that worker processes start quickly."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def grey(array: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 -> (H, W) uint8, by luminance."""
    return array if array.ndim == 2 else np.asarray(Image.fromarray(array).convert("L"))


def png(array: np.ndarray) -> bytes:
    """A PNG file of (H, W) or (H, W, 3) uint8."""
    return _encoded(array, "PNG")


def light_on_dark_bmp(array: np.ndarray) -> bytes:
    """A grey BMP file with the paper dark and the ink light, from dark ink on light paper."""
    return _encoded(255 - grey(array), "BMP")


def _encoded(array: np.ndarray, file_format: str) -> bytes:
    target = io.BytesIO()
    Image.fromarray(array).save(target, format=file_format)
    return target.getvalue()
