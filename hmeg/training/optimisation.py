"""One network and its optimiser: learning rate, clipping, step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hmeg.precisions import canonical

from .settings import LoopConfig


def autocast(device: str, precision: str) -> torch.autocast:
    """Context for forward passes in ``float32`` or ``bfloat16``."""
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=canonical(precision) == "bfloat16")


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Within it float32 matrix products have this precision (:func:`torch.set_float32_matmul_precision`)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Optimised:
    """A network with its optimiser: Adam, unless a subclass overrides :meth:`optimiser`.

    update(losses, step) minimises the sum of ``losses`` by one step and returns the gradient's norm before clipping,
    as a tensor: nothing waits for the device.
    """

    def __init__(self, network: nn.Module, config: LoopConfig, weight_decay: float = 0.0) -> None:
        self.config = config
        self.weights = list(network.parameters())
        self.optimizer = self.optimiser(weight_decay)

    def optimiser(self, weight_decay: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.weights, lr=self.config.learning_rate, weight_decay=weight_decay)

    def rate(self, step: int) -> float:
        """Learning rate of a step (0-based)."""
        return self.config.rate(step)

    def start_afresh(self) -> None:
        """Forgets what the optimiser remembers, such as Adam's moments."""
        self.optimizer.state.clear()

    def update(self, losses: Mapping[str, Tensor], step: int) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.config.clip:
            nn.utils.clip_grads_with_norm_(self.weights, self.config.clip, norm)
        self.optimizer.step()
        return norm.detach()

    def state_dict(self) -> dict[str, object]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.optimizer.load_state_dict(state)
