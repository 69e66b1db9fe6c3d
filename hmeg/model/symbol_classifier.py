"""A small classifier of symbols cut out of images: how well generated symbols can be read, beside real ones.

Its bundled weights were trained on CROHME's training expressions (``hmeg train classifier``), see symbol_classifier.md.
"""

from __future__ import annotations

import functools
import importlib.resources
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from hmeg import ops
from hmeg.graph import vocabulary

FORMAT = "hmeg-symbol-recogniser-1"
WEIGHTS = "symbol_classifier.safetensors"
SIDE = 32
_FINE = 2  # crops are sampled this many times as finely and averaged: thin strokes of large symbols would break
_MARGIN = 0.1  # around a box, as a share of its longer side
_NARROWEST = 0.5  # a window's shorter side, as a share of its longer one


class SymbolClassifier(nn.Module):
    """forward(ink (V, 1, 32, 32), 0 paper to 1 ink) -> class logits (V, 102), row 0 unused. Differentiable."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_stage(1, width), *_stage(width, 2 * width), *_stage(2 * width, 4 * width), nn.Flatten()
        )
        self.classes = nn.Linear(4 * width * (SIDE // 8) ** 2, vocabulary.NUM_SYMBOL_CLASSES)

    def forward(self, ink: Tensor) -> Tensor:
        logits: Tensor = self.classes(self.features(ink))
        return logits


def _stage(in_channels: int, out_channels: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True), nn.MaxPool2d(2)]


def windows_of(boxes: Tensor) -> Tensor:
    """boxes (V, 4) -> (V, 4): what is looked at. A little more than the box, and never narrower than half its length.

    So a fraction bar still looks like a bar, and nothing of a symbol is known but what is drawn: boxes themselves are
    not shown to the recogniser.
    """
    middle, side = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).abs()
    longest = side.amax(dim=1, keepdim=True)
    half = torch.maximum(side, _NARROWEST * longest) / 2 + _MARGIN * longest
    return torch.cat([middle - half, middle + half], dim=1)


def cut_windows(images: Tensor, windows: Tensor, batch: Tensor) -> Tensor:
    """Ink (V, 1, 32, 32) in windows (V, 4) of images (N, 1, H, W), 0 ink to 1 paper; paper beyond the edges."""
    fine = ops.crop_boxes(1 - images.clamp(0, 1), windows.to(images.dtype), batch, (_FINE * SIDE, _FINE * SIDE))
    return F.avg_pool2d(fine, _FINE)


@torch.no_grad()
def read_symbols(recogniser: SymbolClassifier, images: Tensor, boxes: Tensor, batch: Tensor) -> Tensor:
    """Class ids (V,) of what stands at ``boxes`` (V, 4) of images (N, 1, H, W) in [0, 1]; batch (V,).

    Boxes are in [0, 1] of the image's width and height.
    """
    height, width = images.shape[2:]
    if height == width:
        windows = windows_of(boxes)
    else:  # windows go by sides in pixels
        sides = boxes.new_tensor([width, height] * 2)
        windows = windows_of(boxes * sides) / sides
    ids: Tensor = recogniser(cut_windows(images, windows, batch))[:, 1:].argmax(dim=1) + 1
    return ids


def save_classifier(
    recogniser: SymbolClassifier, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes the weights as float16 safetensors; ``metadata`` (text to text) is kept in the file."""
    tensors = {
        name: value.detach().cpu().to(torch.float16 if "running_" not in name else torch.float32).contiguous()
        for name, value in recogniser.state_dict().items()
        if value.is_floating_point()
    }
    Path(path).write_bytes(save(tensors, metadata={**(metadata or {}), "format": FORMAT}))


def load_classifier(path: str | os.PathLike[str]) -> SymbolClassifier:
    """The recogniser in a file, in evaluation mode on the CPU; ValueError for a file that is none."""
    recogniser = SymbolClassifier()
    try:
        with safe_open(os.fspath(path), framework="pt", device="cpu") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise ValueError(f"{path}: not the weights of a symbol recogniser")
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
        missing, unexpected = recogniser.load_state_dict(tensors, strict=False)
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path}: not a readable file of a symbol recogniser's weights ({error})") from None
    lacking = [name for name in missing if "num_batches_tracked" not in name] + unexpected
    if lacking:
        raise ValueError(f"{path}: weights of another recogniser: {', '.join(lacking)}")
    return recogniser.eval()


@functools.cache
def bundled_classifier() -> SymbolClassifier:
    """The recogniser that comes with the package, in evaluation mode on the CPU."""
    with importlib.resources.as_file(importlib.resources.files(__package__) / WEIGHTS) as path:
        return load_classifier(path)
