"""Networks whose batch statistics are those of all processes' batches together.

The published trainer is one process, so its BatchNorm sees the whole batch; with a few expressions a process,
statistics of each alone would be another training. torch's SyncBatchNorm wants GPUs; this one runs wherever the
processes can talk.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hmeg.model.box_ramps import edge_distances
from hmeg.model.discriminators import BoxStandardiser
from hmeg.model.mask import MaskRefiner


class _Sum(torch.autograd.Function):
    """Sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


def sum_over_processes(x: Tensor) -> Tensor:
    """Sum of a tensor over all processes, the same in each. Differentiable (of the sum of all processes' losses)."""
    total: Tensor = _Sum.apply(x)
    return total


class SynchronisedBatchNorm(_BatchNorm):
    """BatchNorm whose training statistics are over all processes; in evaluation mode the ordinary one."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        own = x.new_full((1,), x.numel() / x.shape[1])
        total = sum_over_processes(torch.cat([x.sum(dims), own]))
        mean, count = total[:-1] / total[-1], total[-1].detach()
        centred = x - mean.view(shape)
        variance = sum_over_processes(centred.square().sum(dims)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        normal = centred * torch.rsqrt(variance + self.eps).view(shape)
        return (normal * self.weight.view(shape) + self.bias.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)


class SynchronisedMasks(MaskRefiner):
    """The mask refiner, in training by plain convolutions about a :class:`SynchronisedBatchNorm`.

    The operator takes its statistics from one process's boxes; in evaluation mode it serves here too.
    """

    def forward(self, boxes: Tensor) -> Tensor:
        if not self.training:
            return super().forward(boxes)
        hidden = self.norm(torch.relu(self.conv1(edge_distances(boxes, self.size))))
        return torch.sigmoid(self.conv2(hidden))


class SynchronisedBoxes(BoxStandardiser):
    """Standardises boxes over all processes."""

    def statistics(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.cat([boxes.sum(dim=0), boxes.new_full((1,), len(boxes))])
        dist.all_reduce(total)
        mean, count = total[:-1] / total[-1], total[-1]
        squares = (boxes - mean).square().sum(dim=0)
        dist.all_reduce(squares)
        return mean, (squares / (count - 1).clamp(min=1)).sqrt()


def synchronise(network: nn.Module) -> None:
    """Replaces what has batch statistics inside ``network``, in place; weights and their names stay."""
    for name, child in network.named_children():
        if isinstance(child, MaskRefiner):
            masks = SynchronisedMasks(child.conv1.out_channels, child.size)
            masks.conv1, masks.conv2, masks.norm = child.conv1, child.conv2, child.norm
            setattr(network, name, masks)
            synchronise(masks)
        elif isinstance(child, BoxStandardiser):
            setattr(network, name, SynchronisedBoxes())
        elif isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            norm = SynchronisedBatchNorm(child.num_features, child.eps, child.momentum)
            norm.weight, norm.bias = child.weight, child.bias
            for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(norm, buffer, getattr(child, buffer))
            setattr(network, name, norm)
        else:
            synchronise(child)
