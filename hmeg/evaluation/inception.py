"""Inception v3, in the form that FID and the Inception Score are defined by, and in torchvision's.

Weights are not part of this package: a file of them is loaded (:func:`load_inception`). The two forms have the same
weights' names and differ in what happens around them: the one of 2015, converted from TensorFlow, has 1008 classes,
leaves borders out of averages, and ends with a maximum where the paper (Szegedy et al., CVPR 2016) has an average.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmeg.model.safe_pickle import read_pickle

SIDE = 299
FEATURES = 2048
HOW_TO_GET = (
    "Inception weights are not bundled. Download pt_inception-2015-12-05-6726825d.pth from the releases of "
    "github.com/mseitzer/pytorch-fid (or weights-inception-2015-12-05-6726825d.pth from those of "
    "github.com/toshas/torch-fidelity; 91 MB, the same weights) and give its path to --inception-weights"
)
INCEPTION_2015, INCEPTION_TORCHVISION = "Inception v3 of 2015", "torchvision's Inception v3 (not that of FID)"
_CLASSES_2015, _CLASSES_TORCHVISION = 1008, 1000

# A step of a branch: name of the layer, output channels, kernel (rows, columns), stride. Padding keeps the size at
# stride 1 and is none at stride 2. Of names that end in a and b, both read the same and stand side by side.
_Step = tuple[str, int, tuple[int, int], int]


def _a(pool: int) -> list[list[_Step]]:
    return [
        [("branch1x1", 64, (1, 1), 1)],
        [("branch5x5_1", 48, (1, 1), 1), ("branch5x5_2", 64, (5, 5), 1)],
        [("branch3x3dbl_1", 64, (1, 1), 1), ("branch3x3dbl_2", 96, (3, 3), 1), ("branch3x3dbl_3", 96, (3, 3), 1)],
        [("branch_pool", pool, (1, 1), 1)],
    ]


def _c(width: int) -> list[list[_Step]]:
    row, column = (1, 7), (7, 1)
    double = [("branch7x7dbl_1", width, (1, 1), 1)]
    for number, kernel in enumerate((column, row, column), start=2):
        double.append((f"branch7x7dbl_{number}", width, kernel, 1))
    return [
        [("branch1x1", 192, (1, 1), 1)],
        [("branch7x7_1", width, (1, 1), 1), ("branch7x7_2", width, row, 1), ("branch7x7_3", 192, column, 1)],
        [*double, ("branch7x7dbl_5", 192, row, 1)],
        [("branch_pool", 192, (1, 1), 1)],
    ]


_B: list[list[_Step]] = [
    [("branch3x3", 384, (3, 3), 2)],
    [("branch3x3dbl_1", 64, (1, 1), 1), ("branch3x3dbl_2", 96, (3, 3), 1), ("branch3x3dbl_3", 96, (3, 3), 2)],
]
_D: list[list[_Step]] = [
    [("branch3x3_1", 192, (1, 1), 1), ("branch3x3_2", 320, (3, 3), 2)],
    [
        ("branch7x7x3_1", 192, (1, 1), 1), ("branch7x7x3_2", 192, (1, 7), 1),
        ("branch7x7x3_3", 192, (7, 1), 1), ("branch7x7x3_4", 192, (3, 3), 2),
    ],
]  # fmt: skip
_E: list[list[_Step]] = [
    [("branch1x1", 320, (1, 1), 1)],
    [("branch3x3_1", 384, (1, 1), 1), ("branch3x3_2a", 384, (1, 3), 1), ("branch3x3_2b", 384, (3, 1), 1)],
    [
        ("branch3x3dbl_1", 448, (1, 1), 1), ("branch3x3dbl_2", 384, (3, 3), 1),
        ("branch3x3dbl_3a", 384, (1, 3), 1), ("branch3x3dbl_3b", 384, (3, 1), 1),
    ],
    [("branch_pool", 192, (1, 1), 1)],
]  # fmt: skip
# Average over the whole window, average without the border, maximum, maximum at stride 2.
_WHOLE, _BORDERLESS, _MAXIMUM, _HALVING = "average", "average without border", "maximum", "halving maximum"


class _Convolution(nn.Module):
    """Convolution, batch norm (eps 0.001), ReLU."""

    def __init__(self, channels: int, out: int, kernel: tuple[int, int], stride: int, padded: bool = True) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if stride == 1 and padded else (0, 0)
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class _Mixed(nn.Module):
    """Branches side by side, then a pooled one: convolved where its last branch is ``branch_pool``."""

    def __init__(self, channels: int, branches: list[list[_Step]], pooling: str) -> None:
        super().__init__()
        self.pooling = pooling
        self.branches: list[list[str]] = []
        self.out_channels = 0
        for branch in branches:
            width = channels
            for name, out, kernel, stride in branch:
                self.add_module(name, _Convolution(width, out, kernel, stride))
                if not name.endswith("a"):  # a step "a" and its "b" read the same
                    width = out
            self.branches.append([name for name, *_ in branch])
            self.out_channels += width * (2 if branch[-1][0].endswith("b") else 1)
        if pooling == _HALVING:
            self.out_channels += channels

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for names in self.branches:
            if names == ["branch_pool"]:
                outputs.append(self.get_submodule("branch_pool")(self._pooled(x)))
                continue
            y = x
            for name in names:
                if name.endswith(("a", "b")):
                    outputs.append(self.get_submodule(name)(y))
                else:
                    y = self.get_submodule(name)(y)
            if not names[-1].endswith("b"):
                outputs.append(y)
        if self.pooling == _HALVING:
            outputs.append(self._pooled(x))
        return torch.cat(outputs, dim=1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pooling == _HALVING:
            return F.max_pool2d(x, 3, 2)
        if self.pooling == _MAXIMUM:
            return F.max_pool2d(x, 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=self.pooling == _WHOLE)


class Inception(nn.Module):
    """forward(images (N, 1 or 3, H, W) in [0, 1]) -> features (N, 2048) and class logits (N, classes).

    Images are scaled to 299 x 299 (bilinear: as TensorFlow 1 does for the weights of 2015, else as torchvision does)
    and to the range the weights know. The logits of 2015 are without their bias, as the Inception Score is computed.
    """

    def __init__(self, of_2015: bool = True) -> None:
        super().__init__()
        self.of_2015 = of_2015
        self.name = INCEPTION_2015 if of_2015 else INCEPTION_TORCHVISION
        average = _BORDERLESS if of_2015 else _WHOLE
        plain: list[tuple[str, int, tuple[int, int], int, bool]] = [
            ("Conv2d_1a_3x3", 32, (3, 3), 2, False), ("Conv2d_2a_3x3", 32, (3, 3), 1, False),
            ("Conv2d_2b_3x3", 64, (3, 3), 1, True), ("Conv2d_3b_1x1", 80, (1, 1), 1, False),
            ("Conv2d_4a_3x3", 192, (3, 3), 1, False),
        ]  # fmt: skip
        channels = 3
        for name, out, kernel, stride, padded in plain:
            self.add_module(name, _Convolution(channels, out, kernel, stride, padded))
            channels = out
        mixed: list[tuple[str, list[list[_Step]], str]] = [
            ("Mixed_5b", _a(32), average), ("Mixed_5c", _a(64), average), ("Mixed_5d", _a(64), average),
            ("Mixed_6a", _B, _HALVING), ("Mixed_6b", _c(128), average), ("Mixed_6c", _c(160), average),
            ("Mixed_6d", _c(160), average), ("Mixed_6e", _c(192), average), ("Mixed_7a", _D, _HALVING),
            ("Mixed_7b", _E, average), ("Mixed_7c", _E, _MAXIMUM if of_2015 else _WHOLE),
        ]  # fmt: skip
        for name, branches, pooling in mixed:
            block = _Mixed(channels, branches, pooling)
            self.add_module(name, block)
            channels = block.out_channels
        self.fc = nn.Linear(FEATURES, _CLASSES_2015 if of_2015 else _CLASSES_TORCHVISION)
        self._before, self._between = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"), plain[3:]
        self._mixed = [name for name, *_ in mixed]

    def _prepared(self, images: Tensor) -> Tensor:
        colours = images.expand(-1, 3, -1, -1)
        if not self.of_2015:
            mean, deviation = colours.new_tensor([0.485, 0.456, 0.406]), colours.new_tensor([0.229, 0.224, 0.225])
            scaled = F.interpolate(colours, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
            return (scaled - mean[:, None, None]) / deviation[:, None, None]
        return (_scaled_as_tensorflow_1(colours * 255) - 128) / 128

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self._prepared(images)
        for name in self._before:
            x = self.get_submodule(name)(x)
        x = F.max_pool2d(x, 3, 2)
        for name, *_ in self._between:
            x = self.get_submodule(name)(x)
        x = F.max_pool2d(x, 3, 2)
        for name in self._mixed:
            x = self.get_submodule(name)(x)
        features = x.mean(dim=(2, 3))
        return features, features @ self.fc.weight.T if self.of_2015 else self.fc(features)


def _scaled_as_tensorflow_1(images: Tensor) -> Tensor:
    """Bilinear, pixel i of the output at i * (input side / 299): corners at corners, no half-pixel shift."""
    for dim in (2, 3):
        side = images.shape[dim]
        at = torch.arange(SIDE, dtype=images.dtype, device=images.device) * (side / SIDE)
        low = at.floor().long().clamp(max=side - 1)
        share = (at - low).unsqueeze(-1) if dim == 2 else at - low
        below = images.index_select(dim, low)
        images = below + (images.index_select(dim, (low + 1).clamp(max=side - 1)) - below) * share
    return images


def load_inception(path: str | os.PathLike[str]) -> Inception:
    """Inception with the weights in a file, in evaluation mode on the CPU.

    Known are pytorch-fid's ``pt_inception-2015-12-05-6726825d.pth``, torch-fidelity's ``weights-inception-2015-12-05``
    and torchvision's ``inception_v3_google``. ``ValueError`` for another file, ``OSError`` for one that is not there.
    """
    state: Mapping[str, Tensor] = read_pickle(path)
    weight = state.get("fc.weight")
    classes = len(weight) if isinstance(weight, Tensor) and weight.dim() == 2 else 0
    if classes not in (_CLASSES_2015, _CLASSES_TORCHVISION):
        raise ValueError(
            f"{os.fspath(path)}: no weights of Inception v3 (fc.weight is missing or another's). {HOW_TO_GET}"
        )
    model = Inception(of_2015=classes == _CLASSES_2015)
    wanted = {name: value for name, value in state.items() if not name.startswith("AuxLogits.")}
    try:
        missing, unexpected = model.load_state_dict(wanted, strict=False)
    except RuntimeError as error:
        raise ValueError(
            f"{os.fspath(path)}: weights of another Inception ({str(error).splitlines()[-1].strip()})"
        ) from None
    lacking = [name for name in missing if "num_batches_tracked" not in name] + unexpected
    if lacking:
        raise ValueError(f"{os.fspath(path)}: weights of another Inception: {', '.join(lacking[:5])}")
    return model.eval().requires_grad_(False)
