"""Everything a step of image training reads, made on the CPU ahead of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset
from hmeg.model.config import ModelConfig
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.windows import Windows

from .expressions import Expressions
from .glyph_ink import TrainingGlyphs
from .images import TrainingImages
from .order import Purpose, batch_indices, step_generator
from .processes import Processes
from .settings import ImageTrainingConfig
from .subgraphs import symbols_of


@dataclass
class ImageBatch:
    """One step's expressions; of several processes' batch this process's part.

    graph         training expressions with true boxes
    pixels        their images, as :class:`hmeg.training.images.TrainingImages` wants them
    glyph_modes   (V,) how each symbol is written, where the model asks for it
    glyph_ink     (V, size, size) pictures to draw them from, where that is wanted
    windows       the parts of the images to train on; None: all
    symbol_share  this process's symbols relative to an even share: weight of means over symbols
    """

    graph: GraphBatch
    pixels: Tensor
    glyph_modes: Tensor | None
    glyph_ink: Tensor | None
    windows: Windows | None
    symbol_share: float


class ImageBatches:
    """Makes them: ``ImageBatches(...)(step)``.

    glyphs  how the symbols of the data set are written, or None
    """

    def __init__(
        self,
        dataset: CrohmeDataset,
        config: ImageTrainingConfig,
        model: ModelConfig,
        images: TrainingImages,
        processes: Processes,
        glyphs: TrainingGlyphs | None = None,
    ) -> None:
        self.config, self.model, self.images, self.processes = config, model, images, processes
        self.glyphs = glyphs
        self.expressions = Expressions(dataset.graphs, model.layout.prior)
        self.part = processes.part(min(config.batch_size, len(dataset)))

    def rows(self, step: int) -> np.ndarray:
        """Rows of the training set that a step learns from, of all processes."""
        return batch_indices(len(self.expressions), self.config.batch_size, step, self.config.seed)

    def __call__(self, step: int) -> ImageBatch:
        rows, mine = self.rows(step), self.part
        graph = self.expressions.batch(rows)
        first, last = symbols_of(graph, mine)
        modes = ink = None
        if self.glyphs is not None:
            modes = self.glyphs.modes_of(rows[mine])
            # Varied for all processes alike, then cut.
            ink = self.glyphs.ink_of(rows, step_generator(self.config.seed, step, "cpu", Purpose.GLYPHS))
        return ImageBatch(
            graph=self.expressions.batch(rows[mine]),
            pixels=self.images.prepare(rows[mine]),
            glyph_modes=modes,
            glyph_ink=None if ink is None else ink[first:last],
            windows=self._windows(graph, step) if self.config.window else None,
            symbol_share=(last - first) * self.processes.count / len(graph.symbols),
        )

    def _windows(self, graph: GraphBatch, step: int) -> Windows:
        """Random parts of every expression, each around one of its symbols: drawn for all processes alike, then cut."""
        config, size = self.config, self.model.image.mask_size
        each = config.windows_per_expression
        side = config.window * size // self.model.image.size
        expression = torch.arange(graph.num_graphs).repeat_interleave(each)
        draws = torch.rand(3, len(expression), generator=step_generator(config.seed, step, "cpu", Purpose.WINDOWS))
        count = torch.bincount(graph.batch, minlength=graph.num_graphs)
        first = torch.cumsum(count, 0) - count
        symbol = first[expression] + (draws[0] * count[expression]).long().clamp(max=count[expression] - 1)
        assert graph.boxes is not None
        low, high = graph.boxes[symbol, :2], graph.boxes[symbol, 2:]
        middle = low + (high - low) * draws[1:].T  # a random point of the symbol's box
        corner = (middle * size - side / 2).round().long().clamp(0, size - side)
        mine = slice(each * self.part.start, each * self.part.stop)
        return Windows(expression[mine] - self.part.start, corner[mine, 1], corner[mine, 0], side)


def image_noise(
    config: ImageTrainingConfig, model: ModelConfig, processes: Processes, batch: ImageBatch, step: int
) -> Tensor:
    """Layout noise of a step, on the device; each image's (or window's) from a generator of its own, whoever paints it.

    returns (N or M, image.noise_dim, S, S) standard normal
    """
    painted = batch.graph.num_graphs if batch.windows is None else len(batch.windows.top)
    side = config.window or model.image.size
    noise = torch.empty(painted, model.image.noise_dim, side, side, device=processes.device)
    for row in range(painted):
        index = processes.rank * painted + row
        noise[row].normal_(generator=step_generator(config.seed, step, processes.device, Purpose.IMAGE_NOISE, index))
    return noise
