"""What images are compared by: networks that turn an image into numbers, each under a name of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmeg.graph import SymbolGraph
from hmeg.model.symbol_classifier import SymbolClassifier, cut_windows, windows_of
from hmeg.recognition.batches import stack_images
from hmeg.recognition.model import REDUCTION
from hmeg.recognition.recogniser import Recogniser

_BATCH = 32
_READING_SIDE = 128  # pixels: a symbol of a prepared image is then about as large as the recogniser's 32


@dataclass(frozen=True)
class Extractor:
    """A network as a source of features.

    name     as it stands in tables: never "Inception" unless it is
    compute  images (N, 1, S, S) in [0, 1], ink 0 on paper 1 -> features (N, D)
    """

    name: str
    compute: Callable[[Tensor], Tensor]


def symbol_features(recogniser: SymbolClassifier) -> Extractor:
    """The convolutions of the symbol recogniser over whole images, 192 features.

    Images are brought to 128 x 128, where symbols are about as large as those it was trained on; of each of its 96
    channels the mean and the maximum over the image are kept. Needs no boxes.
    """
    convolutions = copy.deepcopy(nn.Sequential(*list(recogniser.features)[:-1])).eval()

    def compute(images: Tensor) -> Tensor:
        scaled = F.interpolate(images, (_READING_SIDE, _READING_SIDE), mode="bilinear", antialias=True)
        found = convolutions(1 - scaled)
        return torch.cat([found.mean(dim=(2, 3)), found.amax(dim=(2, 3))], dim=1)

    return Extractor("hmeg symbol features, whole images", compute)


def can_features(reader: Recogniser, name: str) -> Extractor:
    """The encoder of a trained CAN, the mean over the image of each of its channels (684 as published).

    Images are prepared as the checkpoint says (cut, made smaller) before; ``name`` is that of the checkpoint.
    """

    def compute(images: Tensor) -> Tensor:
        pixels = images[:, 0].mul(255).round().byte().cpu().numpy()
        batch = stack_images([reader.preparation(image) for image in pixels])
        mask = batch.mask().to(reader.device)
        found = reader.model.encoder(batch.images().to(reader.device), mask)
        positions = mask[:, :, ::REDUCTION, ::REDUCTION].sum(dim=(2, 3))
        mean: Tensor = found.sum(dim=(2, 3)) / positions
        return mean

    return Extractor(f"CAN's encoder, {name}", compute)


@torch.no_grad()
def features_of(pixels: np.ndarray, compute: Callable[[Tensor], Tensor], device: str = "cpu") -> Tensor:
    """(N, S, S) uint8 -> (N, D) float64 on the CPU; ``device`` is where ``compute`` wants its images."""
    found = []
    for start in range(0, len(pixels), _BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + _BATCH])).to(device)
        found.append(compute(batch[:, None].float() / 255).cpu().double())
    return torch.cat(found)


@torch.no_grad()
def symbol_crops(
    recogniser: SymbolClassifier, pixels: np.ndarray, graphs: Sequence[SymbolGraph]
) -> tuple[Tensor, Tensor]:
    """Of every symbol, cut out at its box: features (V, 384) and logits of the 101 classes (V, 101), float64.

    The features are the recogniser's last, (96, 4, 4) of a crop, averaged over quarters of it. Graphs have boxes.
    Computed where the recogniser is, given back on the CPU.
    """
    device = next(recogniser.parameters()).device
    quarters, logits = [], []
    for start in range(0, len(pixels), _BATCH):
        some = graphs[start : start + _BATCH]
        images = (
            torch.from_numpy(np.ascontiguousarray(pixels[start : start + _BATCH])).to(device)[:, None].float() / 255
        )
        boxes = torch.from_numpy(np.concatenate([g.boxes for g in some if g.boxes is not None]).astype(np.float32))
        batch = torch.arange(len(some)).repeat_interleave(torch.tensor([len(graph) for graph in some]))
        flat = recogniser.features(cut_windows(images, windows_of(boxes.to(device)), batch.to(device)))
        quarters.append(F.avg_pool2d(flat.view(len(flat), -1, 4, 4), 2).flatten(1).cpu().double())
        logits.append(recogniser.classes(flat)[:, 1:].cpu().double())
    return torch.cat(quarters), torch.cat(logits)
