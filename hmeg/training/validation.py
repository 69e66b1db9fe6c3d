"""Looking at a validation set during training: always the same expressions, with the same noise."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset
from hmeg.model.box_iou import box_iou
from hmeg.model.box_spread import energy_score, local_shape
from hmeg.model.config import ModelConfig
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.image_model import ImageModel
from hmeg.model.layout import LayoutGenerator
from hmeg.model.noise import box_noise, image_noise
from hmeg.model.symbol_classifier import bundled_classifier, read_symbols

from .expressions import Expressions
from .loop import Measured
from .settings import ValidatedConfig

_BATCH = 32
_PICTURES = 8
_SEED = 0


@dataclass
class _Part:
    """Some expressions: graph with true boxes, images (N, 1, S, S) in [0, 1], box noise (V, B), rows in the set."""

    graph: GraphBatch
    images: Tensor
    box_noise: Tensor
    rows: range


class ValidationSet:
    """A prepared data set to measure on.

    limit  the first expressions only; 0: all
    """

    def __init__(self, folder: Path | str, model: ModelConfig, device: str, limit: int = 0) -> None:
        self.dataset = CrohmeDataset(folder)
        self.model, self.device = model, device
        self.recogniser = copy.deepcopy(bundled_classifier()).to(device)
        self.count = min(limit or len(self.dataset), len(self.dataset))
        self.expressions = Expressions(self.dataset.graphs[: self.count], model.layout.prior)

    @classmethod
    def configured(cls, config: ValidatedConfig, model: ModelConfig, device: str) -> ValidationSet | None:
        """The set that a configuration names, if it names one."""
        return cls(config.validation, model, device, config.validation_limit) if config.validation else None

    @torch.no_grad()
    def measure_boxes(self, generator: LayoutGenerator) -> Measured:
        """Mean intersection over union and mean absolute difference of generated and true boxes.

        energy: the energy score of two draws' sizes and offsets (:mod:`hmeg.model.box_spread`)
        """
        overlap, difference, energy = [], [], []
        for part in self._parts(images=False):
            true = part.graph.boxes
            assert true is not None
            read = generator.eval().read(part.graph)
            boxes = generator.place(part.graph, read, part.box_noise)
            other = generator.place(part.graph, read, self._box_noise(part.rows, _SEED + 1))
            overlap.append(box_iou(boxes, true))
            difference.append((boxes - true).abs())
            energy.append(energy_score(*(local_shape(part.graph, b.float()) for b in (boxes, other, true))))
        found = {"box_iou": overlap, "box_l1": difference, "energy": energy}
        return Measured({name: float(torch.cat(rows).mean()) for name, rows in found.items()})

    @torch.no_grad()
    def measure_images(self, model: ImageModel) -> Measured:
        """Images drawn at true boxes beside real ones.

        Mean absolute difference in [0, 1]; the share of symbols that the bundled classifier reads, and its ratio to the
        share that it reads in the real images (recognisability); the first images as pictures.
        """
        total = torch.zeros((), device=self.device)
        read: list[Tensor] = []
        real: list[Tensor] = []
        shown: list[Tensor] = []
        for part in self._parts(images=True):
            boxes = part.graph.boxes
            assert boxes is not None
            noise = self._image_noise(part.rows)
            modes = model.choose_glyphs(part.graph, boxes, part.box_noise[:, 0])
            output = model.eval()(part.graph, noise, boxes, (self.model.image.size,), glyph_modes=modes)
            drawn = output.images[self.model.image.size].mean(dim=1, keepdim=True).clamp(0, 1)
            total += (drawn - part.images).abs().mean(dim=(1, 2, 3)).sum()
            read.append(self._read(drawn, part.graph))
            real.append(self._read(part.images, part.graph))
            if not shown:
                shown = [torch.cat(list(images[:_PICTURES]), dim=2) for images in (part.images, drawn)]
        picture = torch.cat(shown, dim=1).cpu()
        found, at_best = (float(torch.cat(rows).float().mean()) for rows in (read, real))
        values = {
            "pixel_l1": float(total) / self.count,
            "symbols_read": found,
            "recognisability": found / max(at_best, 1e-9),
        }
        return Measured(values, {"real above, drawn below": picture})

    def _read(self, images: Tensor, graph: GraphBatch) -> Tensor:
        """Whether each symbol (V,) of images (N, 1, S, S) is read as what it is."""
        assert graph.boxes is not None
        # As drawn files hold them: 8 bits.
        images = (images * 255).round() / 255
        return read_symbols(self.recogniser, images.contiguous(), graph.boxes, graph.batch) == graph.symbols

    def _parts(self, images: bool) -> Iterator[_Part]:
        for start in range(0, self.count, _BATCH):
            rows = range(start, min(start + _BATCH, self.count))
            graph = self.expressions.batch(np.array(rows))
            pixels = np.stack([self.dataset.image(row) for row in rows]) if images else np.zeros((0, 1, 1), np.uint8)
            yield _Part(
                graph.to(self.device),
                torch.from_numpy(pixels).to(self.device).float().div_(255)[:, None],
                self._box_noise(rows, _SEED),
                rows,
            )

    def _box_noise(self, rows: range, seed: int) -> Tensor:
        sizes = [len(self.dataset.graphs[row]) for row in rows]
        noise = [box_noise(size, self.model.layout.noise_dim, seed, row) for size, row in zip(sizes, rows, strict=True)]
        return torch.from_numpy(np.concatenate(noise)).to(self.device)

    def _image_noise(self, rows: range) -> Tensor:
        channels, side = self.model.image.noise_dim, self.model.image.size
        return image_noise(channels, side, _SEED, rows, self.device)
