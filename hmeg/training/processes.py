"""Several processes that train one network together (torchrun), each on its part of every batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """This process's place among ``count``; ``device`` is its own."""

    rank: int
    count: int
    device: str

    @classmethod
    def join(cls, device: str) -> Processes:
        """The processes that torchrun started, or this one alone. ``cuda`` becomes the GPU of the local rank."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls(0, 1, device)
        if device == "cuda":
            device = f"cuda:{os.environ['LOCAL_RANK']}"
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return cls(dist.get_rank(), count, device)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def part(self, size: int) -> slice:
        """This process's rows of a batch; ValueError if they cannot be shared evenly."""
        if size % self.count:
            raise ValueError(f"{size} expressions a step cannot be shared evenly by {self.count} processes")
        each = size // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over the processes."""
        if self.count == 1:
            return values
        dist.all_reduce(values)
        return values / self.count

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def prepare(self, network: nn.Module) -> None:
        """Makes a network's batch statistics those of all processes (:mod:`hmeg.training.synchronised`)."""
        if self.count > 1:
            from .synchronised import synchronise

            synchronise(network)

    def averaging(self, network: nn.Module, function: Callable[..., Any], unused: bool) -> Callable[..., Any]:
        """``function``, whose backward pass then averages the gradients of ``network`` over the processes.

        unused  whether some weights may have no part in the result
        """
        if self.count == 1:
            return function
        return DistributedDataParallel(
            _Function(network, function), broadcast_buffers=False, find_unused_parameters=unused
        )


class _Function(nn.Module):
    """A function of a network as a module: DistributedDataParallel wants one forward pass per backward pass."""

    def __init__(self, network: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, *arguments: Any) -> Any:
        return self.function(*arguments)
