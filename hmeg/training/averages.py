"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class AveragedWeights(Generic[Network]):
    """A copy of a network whose weights and batch statistics follow the original's, by ``decay`` a step.

    The first update copies. Unlike torch's ``AveragedModel`` it counts on the host: an update never waits for a GPU.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.module = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """One step towards the network as it is now. Whole numbers (counters) are copied."""
        mine, theirs = _tensors(self.module), _tensors(network)
        weight = 1.0 if self.updates == 0 else 1 - self.decay
        floating = [i for i, tensor in enumerate(mine) if tensor.is_floating_point()]
        torch._foreach_lerp_([mine[i] for i in floating], [theirs[i] for i in floating], weight)
        for ours, other in zip(mine, theirs, strict=True):
            if not ours.is_floating_point():
                ours.copy_(other)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "weights": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["weights"])
        self.updates = int(state["updates"])


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
