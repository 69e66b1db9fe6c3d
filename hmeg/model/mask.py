"""From boxes to the layout: learned soft masks, and the learned upsampling of what they compose."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmeg import ops
from hmeg.reference.weights import MaskWeights


class MaskRefiner(nn.Module):
    """Learned soft masks of boxes (:func:`hmeg.ops.refine_masks`).

    forward(boxes (V, 4)) -> masks (V, 1, size, size) in (0, 1). Training mode uses and updates batch statistics.
    Differentiable in boxes and weights.
    """

    def __init__(self, hidden_dim: int, size: int) -> None:
        super().__init__()
        self.size = size
        # These three hold weights; the operator computes, so that no (V, hidden, size, size) tensor need exist.
        self.conv1 = nn.Conv2d(4, hidden_dim, 3, padding=1)
        self.norm = nn.BatchNorm2d(hidden_dim)
        self.conv2 = nn.Conv2d(hidden_dim, 1, 3, padding=1)

    @property
    def weights(self) -> MaskWeights:
        """The weights as the operator takes them."""
        norm = self.norm
        assert self.conv1.bias is not None
        assert self.conv2.bias is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return MaskWeights(
            conv1_weight=self.conv1.weight,
            conv1_bias=self.conv1.bias,
            bn_weight=norm.weight,
            bn_bias=norm.bias,
            running_mean=norm.running_mean,
            running_var=norm.running_var,
            conv2_weight=self.conv2.weight,
            conv2_bias=self.conv2.bias,
        )

    def forward(self, boxes: Tensor) -> Tensor:
        if self.training and self.norm.num_batches_tracked is not None:
            self.norm.num_batches_tracked.add_(1)
        assert self.norm.momentum is not None
        return ops.refine_masks(
            boxes,
            self.weights,
            (self.size, self.size),
            self.training,
            momentum=self.norm.momentum,
            eps=self.norm.eps,
        )

    def compose(self, boxes: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """Layout (num_graphs, C, size, size) of features (V, C) under masks of evaluation mode, never stored.

        The same as :func:`hmeg.ops.compose_layout` of forward's masks; where gradients are wanted that is what runs.
        """
        size = (self.size, self.size)
        return ops.refine_layout(boxes, self.weights, features, batch, size, num_graphs, eps=self.norm.eps)


class LayoutUpsampler(nn.Module):
    """Learned 4x upsampling: transposed convolution, ReLU, BatchNorm, transposed convolution.

    forward(layout (N, C, H, W)) -> (N, C, 4 H, 4 W). Differentiable.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up1 = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.up2 = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)

    def forward(self, layout: Tensor) -> Tensor:
        upsampled: Tensor = self.up2(self.norm(F.relu(self.up1(layout))))
        return upsampled


def match_format(x: Tensor, like: Tensor) -> Tensor:
    """``x`` in the type and memory format of ``like``: concatenating mixed formats falls back to the slow one."""
    last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return x.to(like.dtype).contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
