"""A trained CAN with its dictionary: images in, tokens out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from hmeg.precisions import checked
from hmeg.training.optimisation import autocast
from hmeg.training.transfer import to_device

from .batches import WINDOW, by_size, stack_images
from .greedy import LONGEST, greedy
from .inference import for_inference
from .model import CAN
from .preparation import Preparation
from .words import Words

_MOST_FILLED = 1.2  # what is filled up takes as long as what is looked at
BATCH = {"cpu": 8, "cuda": 64}


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read in an image: tokens, and how often each word of the dictionary occurs (words,) as counted."""

    tokens: tuple[str, ...]
    counts: np.ndarray


class Recogniser:
    """``Recogniser.recognise(images)``; made by :func:`hmeg.recognition.load`.

    model        the network, on its device, in evaluation mode
    words        its dictionary
    preparation  what is done to images first
    precision    float32, or bfloat16: faster where the processor has it, and some tokens may differ
    """

    def __init__(self, model: CAN, words: Words, preparation: Preparation, precision: str = "float32") -> None:
        if len(words) != model.config.words:
            raise ValueError(f"the dictionary has {len(words)} words, the network {model.config.words}")
        self.model, self.words, self.preparation = model.eval(), words, preparation
        self.precision = checked(precision)
        self._network = for_inference(self.model)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def recognise(
        self,
        images: Iterable[np.ndarray | Image.Image],
        batch_size: int | None = None,
        longest: int = LONGEST,
        progress: Callable[[int], object] = lambda count: None,
    ) -> list[Reading]:
        """Reads images, (H, W) uint8 or Pillow's, dark ink on light paper, each of its own size; in their order.

        batch_size  images at once; None: what suits the device. Sizes are mixed only where they are close, and the
                    filling is masked out everywhere, so an image reads the same in any company, up to rounding
        longest     stop after that many tokens
        progress    called with the number of images just read
        """
        size = BATCH[self.device.type] if batch_size is None else batch_size
        if size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        readings: list[Reading] = []
        for window in _windows(images, size * WINDOW):
            inks = [self.preparation(_grey(image)) for image in window]
            found: list[Reading | None] = [None] * len(inks)
            for rows in by_size([ink.shape for ink in inks], size, _MOST_FILLED):
                for row, reading in zip(rows, self._read([inks[row] for row in rows], longest), strict=True):
                    found[row] = reading
                progress(len(rows))
            readings += [reading for reading in found if reading is not None]
        return readings

    @torch.inference_mode()
    def _read(self, inks: Sequence[np.ndarray], longest: int) -> list[Reading]:
        device = str(self.device)
        batch = to_device(stack_images(inks), device)
        with autocast(device, self.precision):
            encoded = self._network.encode(batch.images(), batch.mask(), isolated=batch.filled)
            ids = greedy(self.model.decoder, encoded, longest)
        counts = encoded.counts.float().cpu().numpy()
        return [Reading(self.words.decode(row), counts[i]) for i, row in enumerate(ids)]


def _grey(image: np.ndarray | Image.Image) -> np.ndarray:
    array = np.asarray(image.convert("L") if isinstance(image, Image.Image) else image)
    if array.ndim != 2 or array.dtype != np.uint8 or not array.size:
        raise ValueError(f"an image must be (H, W) of uint8, got {array.shape} of {array.dtype}")
    return array


def _windows(images: Iterable[np.ndarray | Image.Image], size: int) -> Iterator[list[np.ndarray | Image.Image]]:
    window: list[np.ndarray | Image.Image] = []
    for image in images:
        window.append(image)
        if len(window) == size:
            yield window
            window = []
    if window:
        yield window
