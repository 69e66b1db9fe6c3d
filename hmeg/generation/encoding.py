"""Pixels to bytes of an image file. Imports no torch, so that worker processes start quickly."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .augmentation.plan import NONE, varying

if TYPE_CHECKING:
    from .augmentation.vary import Variation


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


def varied_and_encoded(
    augment: str, encode: Callable[[np.ndarray], Any], array: np.ndarray, boxes: np.ndarray, seed: int, index: int
) -> tuple[Variation | None, Any]:
    """What ``augment`` (:mod:`hmeg.generation.augmentation.plan`) makes of an image, None for nothing, encoded."""
    if augment == NONE:
        return None, encode(array)
    variation = varying().vary(augment, array, boxes, seed, index)  # imports torch, which other runs do not need here
    return variation, encode(variation.array)


def follow_parent() -> None:
    """First of all in a worker process: it lives as long as the process that started it, and leaves Ctrl-C to that.

    Ctrl-C reaches all processes of a terminal, but one has to decide what happens. And a process that was killed tells
    nobody: its workers would wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is for processes that multiprocessing has started"
    threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # the main thread may wait in a pool's queue, which nothing else ends
