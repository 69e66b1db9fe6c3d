"""Upsampling by 2 (nearest) and then a 3x3 convolution, with 4 multiply-adds an output instead of 9.

Every output pixel reads only 2x2 different features, and which taps fall together depends only on whether its row and
column are even or odd. The four 2x2 kernels together are one transposed convolution, 4x4 with stride 2. Zeros around
the upsampled features are zeros around the features, so borders come out right too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_beside(conv: nn.Conv2d, x: Tensor, features: Tensor) -> Tensor:
    """``conv`` (3x3, padding 1) of x (N, C, H, W) and, in the channels behind it, upsampled features
    (N, F, H / 2, W / 2): (N, out, H, W). Nothing is upsampled or concatenated. Differentiable.
    """
    of_x, of_features = conv.weight.split([x.shape[1], features.shape[1]], dim=1)
    upsampled = F.conv_transpose2d(features, merged_upsampling(of_features), stride=2, padding=1)
    return F.conv2d(x, of_x, conv.bias, padding=1).add_(upsampled)


def merged_upsampling(weight: Tensor) -> Tensor:
    """The transposed convolution (I, O, 4, 4; stride 2, padding 1) that equals nearest upsampling by 2 followed by the
    convolution ``weight`` (O, I, 3, 3; padding 1).

    Output row 2i + p of the 3x3 convolution reads upsampled rows 2i + p - 1 .. 2i + p + 1, which are rows i - 1, i, i
    (p = 0) or i, i, i + 1 (p = 1) of what was upsampled. The transposed convolution's tap k takes row i to row
    2i + k - 1, so tap 0 is the last of the three, 1 the last two together, 2 the first two, 3 the first. Columns alike.
    """
    rows = torch.stack([weight[:, :, 2], weight[:, :, 1] + weight[:, :, 2], weight[:, :, 0] + weight[:, :, 1],
                        weight[:, :, 0]], dim=2)  # fmt: skip
    both = torch.stack([rows[..., 2], rows[..., 1] + rows[..., 2], rows[..., 0] + rows[..., 1], rows[..., 0]], dim=3)
    return both.transpose(0, 1)
