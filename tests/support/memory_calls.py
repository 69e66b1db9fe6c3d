"""Prints what bench.memory sees of calls whose memory is known: nothing, 4 MiB of torch's, 12 MiB of others.

A process of its own: what others have left in the heap decides whether the system must give anything anew.
"""

from __future__ import annotations

import mmap

import torch

from bench.memory import extra_bytes


def keeps_nothing() -> list[torch.Tensor]:
    return [torch.ones(2**20)]


def allocates() -> list[torch.Tensor]:
    return [torch.ones(2**20).mul(2)]


def allocates_natively() -> list[torch.Tensor]:
    # Outside torch's allocator, and given back at once: freed parts of the heap stay or go as glibc likes.
    with mmap.mmap(-1, 2**24, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for page in range(0, len(memory), mmap.PAGESIZE):
            memory[page] = 1
    return [torch.ones(2**20)]


if __name__ == "__main__":
    calls = (keeps_nothing, allocates, allocates_natively)
    for function in calls:
        function()
    print(*(extra_bytes(function, "cpu") for function in calls))
