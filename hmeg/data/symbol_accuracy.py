"""How many symbols of images the recogniser reads: of real ones, and of generated ones in their place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset
from hmeg.graph import SymbolGraph
from hmeg.model.symbol_classifier import SymbolClassifier, read_symbols

_BATCH = 32


def symbols_read(recogniser: SymbolClassifier, images: np.ndarray, graphs: Sequence[SymbolGraph]) -> Tensor:
    """Whether each symbol (V,), bool, is read as what it is; images (N, H, W) uint8, graphs with boxes."""
    device = next(recogniser.parameters()).device
    boxes = np.concatenate([graph.boxes for graph in graphs if graph.boxes is not None]).astype(np.float32)
    wanted = torch.from_numpy(np.concatenate([graph.symbol_ids() for graph in graphs]))
    batch = torch.arange(len(graphs)).repeat_interleave(torch.tensor([len(graph) for graph in graphs]))
    pixels = torch.from_numpy(images).to(device).float().div_(255)[:, None]
    found = read_symbols(recogniser, pixels, torch.from_numpy(boxes).to(device), batch.to(device))
    return found.cpu() == wanted


def accuracy(recogniser: SymbolClassifier, images: Sequence[np.ndarray], graphs: Sequence[SymbolGraph]) -> float:
    """Share of symbols that are read as what they are; ``recogniser`` should be in evaluation mode."""
    read = [
        symbols_read(recogniser, np.stack(images[start : start + _BATCH]), graphs[start : start + _BATCH])
        for start in range(0, len(graphs), _BATCH)
    ]
    return float(torch.cat(read).float().mean())


class _Images(Sequence[np.ndarray]):
    """A data set's images, read when asked for."""

    def __init__(self, dataset: CrohmeDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, rows: slice) -> list[np.ndarray]:  # type: ignore[override]  # asked for slices only
        return [self.dataset.image(row) for row in range(*rows.indices(len(self)))]


def accuracy_on(recogniser: SymbolClassifier, dataset: CrohmeDataset, limit: int = 0) -> float:
    """Accuracy on a data set's own images; limit: on the first expressions only, 0: on all."""
    return accuracy(recogniser, _Images(dataset), dataset.graphs[: limit or None])
