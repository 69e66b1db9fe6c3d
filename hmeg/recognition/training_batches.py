"""What a step of the recogniser's training reads: a function of (seed, step), made on the CPU ahead of time."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .batches import WINDOW, ImageBatch, by_size, stack_images, stack_tokens
from .data import RecognitionData
from .preparation import Preparation
from .words import Words


@dataclass
class TaughtBatch:
    """Images, their tokens (N, T) int64, ended and filled up by eos, and the mask (N, T) of what is no filling."""

    images: ImageBatch
    tokens: Tensor
    token_mask: Tensor


class TrainingBatches:
    """Batches of images of about the same size: ``TrainingBatches(...)(step)``.

    Every epoch is a permutation, cut into windows of :data:`hmeg.recognition.batches.WINDOW` batches; the images of
    a window are sorted by size and cut into batches, which come in random order. The incomplete last batch of an epoch
    is dropped; fewer images than a batch are used whole at every step.
    """

    def __init__(self, data: RecognitionData, words: Words, preparation: Preparation, batch_size: int, seed: int):
        self.data, self.words, self.preparation = data, words, preparation
        self.batch_size, self.seed = batch_size, seed
        self.per_epoch = max(1, len(data) // batch_size)
        self._lock = threading.Lock()  # rows() may be asked for while batches are made ahead
        self._kept: tuple[int, int] | None = None
        self._batches: list[np.ndarray] = []
        self._inks: dict[int, np.ndarray] = {}

    def rows(self, step: int) -> np.ndarray:
        """Rows of the data that a step learns from."""
        with self._lock:
            return self._batch_rows(step)

    def __call__(self, step: int) -> TaughtBatch:
        with self._lock:
            rows = self._batch_rows(step)
            inks = [self._inks[int(row)] for row in rows]
        tokens, mask = stack_tokens([self.words.encode(self.data.tokens[int(row)]) for row in rows])
        return TaughtBatch(stack_images(inks), tokens, mask)

    def _batch_rows(self, step: int) -> np.ndarray:
        epoch, position = divmod(step, self.per_epoch)
        window, place = divmod(position, WINDOW)
        if self._kept != (epoch, window):
            self._enter(epoch, window)
        return self._batches[place]

    def _enter(self, epoch: int, window: int) -> None:
        """Reads the images of a window."""
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        order = random.permutation(len(self.data))
        last = min((window + 1) * WINDOW, self.per_epoch)
        rows = order[window * WINDOW * self.batch_size : last * self.batch_size]
        inks = [self.preparation(self.data.image(int(row))) for row in rows]
        batches = [rows[part] for part in by_size([ink.shape for ink in inks], self.batch_size)]
        shuffle = np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, 0, 1, window]))
        self._batches = [batches[i] for i in shuffle.permutation(len(batches))]
        self._inks = dict(zip((int(row) for row in rows), inks, strict=True))
        self._kept = (epoch, window)
